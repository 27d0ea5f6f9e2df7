/* `ReadTable`: where some sectors of some files lie and what they must hash to, so that they are read without Python.
 *
 * The twin of `LocalFs.read` for a range inside one sector, which is the reference: what this table gives, that would
 * give as well. Whoever fills it takes out a file before it changes.
 *
 *     file    cipher (the key inside), what is bound to each seal, size
 *     page    the sectors under one Merkle node: their hashes, already verified, and their places in open files
 *
 * Rules: a sector is compared with its hash, then opened, then given; whatever is not known, not right or not a single
 * sector of a reader here and there is declined, and the caller asks Python, which says what is wrong. Someone who reads
 * in sequence is declined too, for Python reads ahead. Each page has one slot, so a table has a bound; a page that falls
 * on the slot of another takes it.
 *
 * Serving happens without the interpreter lock, under the mutex of the table; so do all changes. Nothing that could run
 * Python is done under the mutex. A page keeps the objects alive that keep its descriptors open.
 */

#include "_reads.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "_sectors.h"

enum { PAGE_BITS = 8, PAGE = 1 << PAGE_BITS, PAGE_MASK = PAGE - 1, SLOTS = 1024, LEAST_BITS = 9, MOST_BITS = 14 };

_Static_assert(1 << MOST_BITS == READ_LIMIT, "a sector fits into an answer");

typedef struct File {
    struct File *next;
    EVP_CIPHER_CTX *cipher;
    uint64_t number, size;
    uint64_t expected; /* the sector with which a reader in sequence goes on */
    int pages;
    Prefix bound;
} File;

typedef struct {
    int64_t offset;
    int32_t length; /* 0: a hole, or not known */
    int32_t descriptor;
} Place;

typedef struct {
    File *file;
    uint64_t number;
    PyObject *hashes, *owners;
    const unsigned char *digests; /* the content of `hashes` */
    Place places[PAGE];
} Page;

struct ReadTable {
    PyObject_HEAD
    pthread_mutex_t mutex;
    EVP_MD_CTX *hash;
    File *files;
    Page *pages[SLOTS];
    uint64_t served;
    int bits;
    Prefix label;
};

static Page **slot_of(ReadTable *table, uint64_t file, uint64_t page)
{
    return &table->pages[(file + page) % SLOTS];
}

/* Serving */

static int is_hashed_so(ReadTable *table, uint64_t index, const unsigned char *stored, size_t size,
                        const unsigned char *expected)
{
    unsigned char digest[DIGEST];
    put_index(&table->label, index);
    return EVP_DigestInit_ex2(table->hash, NULL, NULL) == 1 &&
           EVP_DigestUpdate(table->hash, table->label.bytes, (size_t)table->label.size) == 1 &&
           EVP_DigestUpdate(table->hash, stored, size) == 1 && EVP_DigestFinal_ex(table->hash, digest, NULL) == 1 &&
           CRYPTO_memcmp(digest, expected, DIGEST) == 0;
}

static int opens(File *file, uint64_t index, unsigned char *stored, int size, unsigned char *out)
{
    int length;
    unsigned char *body = stored + NONCE;
    put_index(&file->bound, index);
    return EVP_DecryptInit_ex2(file->cipher, NULL, NULL, stored, NULL) == 1 &&
           EVP_DecryptUpdate(file->cipher, NULL, &length, file->bound.bytes, file->bound.size) == 1 &&
           EVP_DecryptUpdate(file->cipher, out, &length, body, size) == 1 &&
           EVP_CIPHER_CTX_ctrl(file->cipher, EVP_CTRL_AEAD_SET_TAG, TAG, body + size) == 1 &&
           EVP_DecryptFinal_ex(file->cipher, out + size, &length) == 1;
}

/* How many bytes the sector has; -1 where it is not to be had here. */
static int load(ReadTable *table, Page *page, uint64_t index, unsigned char *room)
{
    unsigned char stored[READ_LIMIT + SEAL];
    const Place *place = &page->places[index & PAGE_MASK];
    int size = place->length - SEAL;
    if (size < 0 || pread(place->descriptor, stored, (size_t)place->length, place->offset) != place->length ||
        !is_hashed_so(table, index, stored, (size_t)place->length, page->digests + (index & PAGE_MASK) * DIGEST) ||
        !opens(page->file, index, stored, size, room))
        return -1;
    return size;
}

static const unsigned char *serve(ReadTable *table, uint64_t number, uint64_t offset, uint32_t size,
                                  unsigned char *room)
{
    uint64_t first = offset >> table->bits, within = offset - (first << table->bits);
    Page *page = *slot_of(table, number, first >> PAGE_BITS);
    if (page == NULL || page->file->number != number || page->number != first >> PAGE_BITS)
        return NULL;
    File *file = page->file;
    if (size == 0 || offset >= file->size || size > file->size - offset)
        return NULL;
    uint64_t last = (offset + size - 1) >> table->bits, expected = file->expected;
    file->expected = last + 1;
    if (first != last || first == expected || first + 1 == expected)
        return NULL;
    int length = load(table, page, first, room);
    if (length < 0 || within + size > (uint64_t)length)
        return NULL;
    table->served++;
    return room + within;
}

const unsigned char *reads_serve(ReadTable *table, uint64_t file, uint64_t offset, uint32_t size,
                                 unsigned char room[READ_LIMIT])
{
    pthread_mutex_lock(&table->mutex);
    const unsigned char *found = serve(table, file, offset, size, room);
    pthread_mutex_unlock(&table->mutex);
    return found;
}

/* Changing: pages are taken out under the mutex, and freed after it. */

static Page *take(Page **slot)
{
    Page *page = *slot;
    *slot = NULL;
    return page;
}

static void free_file(ReadTable *table, File *file)
{
    File **link = &table->files;
    while (*link != file)
        link = &(*link)->next;
    *link = file->next;
    EVP_CIPHER_CTX_free(file->cipher); /* wipes the key */
    free(file);
}

/* Out of any slot already. With the interpreter lock, which is all that guards the list of files. */
static void free_page(ReadTable *table, Page *page)
{
    if (page == NULL)
        return;
    if (--page->file->pages == 0)
        free_file(table, page->file);
    PyObject *hashes = page->hashes, *owners = page->owners;
    free(page);
    Py_DECREF(hashes);
    Py_DECREF(owners);
}

static void drop_pages(ReadTable *table, int all, uint64_t number)
{
    Page *gone[SLOTS];
    int count = 0;
    pthread_mutex_lock(&table->mutex);
    for (int at = 0; at < SLOTS; at++)
        if (table->pages[at] != NULL && (all || table->pages[at]->file->number == number))
            gone[count++] = take(&table->pages[at]);
    pthread_mutex_unlock(&table->mutex);
    while (count > 0)
        free_page(table, gone[--count]);
}

static File *new_file(ReadTable *table, uint64_t number, const unsigned char *key)
{
    File *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    file->number = number;
    file->expected = UINT64_MAX;
    file->cipher = EVP_CIPHER_CTX_new();
    file->next = table->files;
    table->files = file;
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (file->cipher == NULL || cipher == NULL || EVP_DecryptInit_ex2(file->cipher, cipher, key, NULL, NULL) != 1) {
        EVP_CIPHER_free(cipher);
        free_file(table, file);
        return NULL;
    }
    EVP_CIPHER_free(cipher);
    return file;
}

static File *file_of(ReadTable *table, uint64_t number)
{
    for (File *file = table->files; file != NULL; file = file->next)
        if (file->number == number)
            return file;
    return NULL;
}

/* One stretch of records: false with an exception set. */
static int fill(Page *page, PyObject *stretch, int bits)
{
    unsigned long long first, length;
    long long offset;
    int descriptor, size, last;
    if (!PyTuple_Check(stretch)) {
        PyErr_SetString(PyExc_TypeError, "a stretch is a tuple");
        return 0;
    }
    if (!PyArg_ParseTuple(stretch, "KKiLii", &first, &length, &descriptor, &offset, &size, &last))
        return 0;
    int largest = (1 << bits) + SEAL;
    if (length == 0 || length > (1ULL << 40) || first > (1ULL << 52) || offset < 0 || offset > (1LL << 60) || size < 0 ||
        last < 0) {
        PyErr_SetString(PyExc_ValueError, "there is no such stretch");
        return 0;
    }
    uint64_t start = page->number << PAGE_BITS, low = first > start ? first : start;
    uint64_t end = first + length < start + PAGE ? first + length : start + PAGE;
    for (uint64_t index = low; index < end; index++) {
        int bytes = index == first + length - 1 ? last : size;
        if (bytes >= SEAL && bytes <= largest)
            page->places[index & PAGE_MASK] =
                (Place){offset + (int64_t)(index - first) * size, bytes, descriptor};
    }
    return 1;
}

/* A page without a file, or NULL with an exception set. */
static Page *new_page(uint64_t number, PyObject *hashes, PyObject *stretches, PyObject *owners, int bits)
{
    char *digests;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(hashes, &digests, &size) < 0)
        return NULL;
    if (!PyTuple_Check(stretches) || size % DIGEST || size > PAGE * DIGEST) {
        PyErr_SetString(PyExc_ValueError, "a page has up to 256 hashes of 32 bytes, and a tuple of stretches");
        return NULL;
    }
    Page *page = calloc(1, sizeof *page);
    if (page == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    page->number = number;
    for (Py_ssize_t at = 0; at < PyTuple_Size(stretches); at++)
        if (!fill(page, PyTuple_GetItem(stretches, at), bits)) {
            free(page);
            return NULL;
        }
    for (Py_ssize_t at = size / DIGEST; at < PAGE; at++)
        page->places[at].length = 0; /* no hash, no place */
    page->digests = (unsigned char *)digests;
    page->hashes = Py_NewRef(hashes);
    page->owners = Py_NewRef(owners);
    return page;
}

PyDoc_STRVAR(put_doc,
             "put(file, page, key, bound, size, hashes, stretches, owners)\n\n"
             "Let sectors 256 * `page` and following of a file of `size` bytes be read: `hashes`, 32 bytes each, what they\n"
             "must hash to; `stretches`, tuples (first, length, descriptor, offset, size, last) of consecutive records of\n"
             "`size` bytes, the last of `last`; `owners` keeps the descriptors open. A hole has no stretch.");

static PyObject *put(PyObject *self, PyObject *args)
{
    ReadTable *table = (ReadTable *)self;
    const char *key, *bound;
    Py_ssize_t key_size, bound_size;
    unsigned long long number, page_number, size;
    PyObject *hashes, *stretches, *owners;
    if (!PyArg_ParseTuple(args, "KKy#y#KOOO", &number, &page_number, &key, &key_size, &bound, &bound_size, &size,
                          &hashes, &stretches, &owners))
        return NULL;
    if (key_size != KEY || bound_size > PREFIX_LIMIT || page_number > (1ULL << 44)) {
        PyErr_SetString(PyExc_ValueError, "a key has 32 bytes, and what is bound to it at most 128");
        return NULL;
    }
    Page *page = new_page(page_number, hashes, stretches, owners, table->bits);
    if (page == NULL)
        return NULL;
    File *file = file_of(table, number);
    if (file == NULL && (file = new_file(table, number, (const unsigned char *)key)) == NULL) {
        free(page);
        Py_DECREF(hashes);
        Py_DECREF(owners);
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL has no AES-256-GCM here");
        return NULL;
    }
    file->pages++;
    page->file = file;
    pthread_mutex_lock(&table->mutex);
    set_prefix(&file->bound, bound, bound_size);
    file->size = size;
    Page **slot = slot_of(table, number, page_number);
    Page *gone = take(slot);
    *slot = page;
    pthread_mutex_unlock(&table->mutex);
    free_page(table, gone);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(drop_doc, "drop(file)\n\nForget all pages of a file. When this returns, none is read any more.");

static PyObject *drop(PyObject *self, PyObject *argument)
{
    uint64_t number = PyLong_AsUnsignedLongLong(argument);
    if (number == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    drop_pages((ReadTable *)self, 0, number);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(clear_doc, "clear()\n\nForget all pages.");

static PyObject *clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    drop_pages((ReadTable *)self, 1, 0);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(serve_doc, "serve(file, offset, size) -> bytes | None\n\nWhat a request for this range would be answered.");

static PyObject *serve_once(PyObject *self, PyObject *args)
{
    unsigned long long file, offset;
    unsigned int size;
    unsigned char room[READ_LIMIT];
    const unsigned char *found;
    if (!PyArg_ParseTuple(args, "KKI", &file, &offset, &size))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    found = reads_serve((ReadTable *)self, file, offset, size, room);
    Py_END_ALLOW_THREADS
    if (found == NULL)
        Py_RETURN_NONE;
    return PyBytes_FromStringAndSize((const char *)found, size);
}

PyDoc_STRVAR(served_doc, "served() -> int\n\nHow many ranges were read.");

static PyObject *served(PyObject *self, PyObject *unused)
{
    (void)unused;
    return PyLong_FromUnsignedLongLong(((ReadTable *)self)->served);
}

static PyObject *new_table(PyTypeObject *type, PyObject *args, PyObject *keywords)
{
    int bits;
    const char *label;
    Py_ssize_t label_size;
    if (keywords != NULL && PyDict_Size(keywords))
        return PyErr_Format(PyExc_TypeError, "ReadTable takes no keywords");
    if (!PyArg_ParseTuple(args, "iy#", &bits, &label, &label_size))
        return NULL;
    if (bits < LEAST_BITS || bits > MOST_BITS || label_size > PREFIX_LIMIT)
        return PyErr_Format(PyExc_ValueError, "sectors have 2^9 to 2^14 bytes, and a label at most 128");
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    ReadTable *table = (ReadTable *)allocate(type, 0);
    if (table == NULL)
        return NULL;
    pthread_mutex_init(&table->mutex, NULL);
    table->bits = bits;
    set_prefix(&table->label, label, label_size);
    table->hash = EVP_MD_CTX_new();
    if (table->hash == NULL || EVP_DigestInit_ex2(table->hash, EVP_sha256(), NULL) != 1) {
        Py_DECREF(table);
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL has no SHA-256 here");
        return NULL;
    }
    return (PyObject *)table;
}

static void deallocate(PyObject *self)
{
    ReadTable *table = (ReadTable *)self;
    PyTypeObject *type = Py_TYPE(self);
    drop_pages(table, 1, 0);
    EVP_MD_CTX_free(table->hash);
    pthread_mutex_destroy(&table->mutex);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"put", put, METH_VARARGS, put_doc},
    {"drop", drop, METH_O, drop_doc},
    {"clear", clear, METH_NOARGS, clear_doc},
    {"serve", serve_once, METH_VARARGS, serve_doc},
    {"served", served, METH_NOARGS, served_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(type_doc,
             "ReadTable(sector_bits, label)\n\n"
             "Where sectors lie that are read without Python. `label` stands before what is hashed. Of an object that owns\n"
             "descriptors it asks only to live; so no reference cycle may lead through it.");

static PyType_Slot slots[] = {
    {Py_tp_new, new_table}, {Py_tp_dealloc, deallocate}, {Py_tp_methods, methods}, {Py_tp_doc, (void *)type_doc}, {0, NULL},
};

static PyType_Spec spec = {"btspeed.ReadTable", sizeof(ReadTable), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE, slots};

int reads_add_type(PyObject *module)
{
    PyObject *type = PyType_FromModuleAndSpec(module, &spec, NULL);
    if (type == NULL)
        return -1;
    int added = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return added;
}

int reads_table(PyObject *module, PyObject *argument, ReadTable **table)
{
    *table = NULL;
    if (argument == Py_None)
        return 0;
    PyObject *type = PyObject_GetAttrString(module, "ReadTable");
    int is = type == NULL ? -1 : PyObject_IsInstance(argument, type);
    Py_XDECREF(type);
    if (is > 0)
        *table = (ReadTable *)argument;
    else if (is == 0)
        PyErr_SetString(PyExc_TypeError, "neither a ReadTable nor None");
    return is > 0 ? 0 : -1;
}
