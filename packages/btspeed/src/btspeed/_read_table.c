/* `ReadTable`: where some sectors of some files lie and what they must hash to, so that they are read without Python.
 *
 * The twin of `LocalFs.read` for a range inside one sector, which is the reference: what this table gives, that would
 * give as well. Whoever fills it takes out a file before it changes.
 *
 *     file    cipher (the key inside), what is bound to each seal, size
 *     page    the sectors under one Merkle node: their hashes, already verified, and their places in open files
 *
 * Each page has one slot, so a table has a bound; a page that falls on the slot of another takes it. All changes to slots
 * are made under the mutex, and nothing that could run Python is done under it. A page keeps the objects alive that keep
 * its descriptors open.
 */

#include "_read_pages.h"

#include <stdlib.h>
#include <string.h>

/* Changing: pages are taken out under the mutex, and freed after it. */

static Page *take(Page **slot)
{
    Page *page = *slot;
    *slot = NULL;
    return page;
}

static void free_file(File *file)
{
    EVP_CIPHER_CTX_free(file->cipher); /* wipes the key */
    free(file);
}

/* Out of any slot already. */
static void free_page(Page *page)
{
    if (page == NULL)
        return;
    PyObject *hashes = page->hashes, *owners = page->owners;
    free(page);
    Py_DECREF(hashes);
    Py_DECREF(owners);
}

/* The interpreter lock is all that guards the list of files; serving gets to them through pages alone. */
static void drop_files(ReadTable *table, int all, uint64_t number)
{
    Page *gone[SLOTS];
    int count = 0;
    pthread_mutex_lock(&table->mutex);
    for (int at = 0; at < SLOTS; at++)
        if (table->pages[at] != NULL && (all || table->pages[at]->file->number == number))
            gone[count++] = take(&table->pages[at]);
    pthread_mutex_unlock(&table->mutex);
    for (File **link = &table->files; *link != NULL;) {
        File *file = *link;
        if (all || file->number == number) {
            *link = file->next;
            free_file(file);
        } else {
            link = &file->next;
        }
    }
    while (count > 0)
        free_page(gone[--count]);
}

static File *new_file(uint64_t number, const unsigned char *key)
{
    File *file = calloc(1, sizeof *file);
    if (file == NULL)
        return NULL;
    file->number = number;
    file->expected = UINT64_MAX;
    file->cipher = EVP_CIPHER_CTX_new();
    EVP_CIPHER *cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    int ready =
        file->cipher != NULL && cipher != NULL && EVP_DecryptInit_ex2(file->cipher, cipher, key, NULL, NULL) == 1;
    EVP_CIPHER_free(cipher);
    if (ready)
        return file;
    free_file(file);
    return NULL;
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

PyDoc_STRVAR(open_doc,
             "open(file, key, bound, size)\n\n"
             "Let a file of `size` bytes have pages: its key, and what is bound to each seal before the index of a sector.\n"
             "A file that has them already stays as it is: whoever changes it drops it first.");

static PyObject *open_file(PyObject *self, PyObject *args)
{
    ReadTable *table = (ReadTable *)self;
    const char *key, *bound;
    Py_ssize_t key_size, bound_size;
    unsigned long long number, size;
    if (!PyArg_ParseTuple(args, "Ky#y#K", &number, &key, &key_size, &bound, &bound_size, &size))
        return NULL;
    if (key_size != KEY || bound_size > PREFIX_LIMIT)
        return PyErr_Format(PyExc_ValueError, "a key has 32 bytes, and what is bound to it at most 128");
    if (file_of(table, number) != NULL)
        Py_RETURN_NONE;
    File *file = new_file(number, (const unsigned char *)key);
    if (file == NULL)
        return PyErr_Format(PyExc_RuntimeError, "OpenSSL has no AES-256-GCM here");
    set_prefix(&file->bound, bound, bound_size);
    file->size = size;
    file->next = table->files;
    table->files = file;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(put_doc,
             "put(file, page, hashes, stretches, owners)\n\n"
             "Let sectors 256 * `page` and following of a file be read, unless it was dropped: `hashes`, 32 bytes each, what\n"
             "they must hash to; `stretches`, tuples (first, length, descriptor, offset, size, last) of consecutive records\n"
             "of `size` bytes, the last of `last`; `owners` keeps the descriptors open. A hole has no stretch.");

static PyObject *put(PyObject *self, PyObject *args)
{
    ReadTable *table = (ReadTable *)self;
    unsigned long long number, page_number;
    PyObject *hashes, *stretches, *owners;
    if (!PyArg_ParseTuple(args, "KKOOO", &number, &page_number, &hashes, &stretches, &owners))
        return NULL;
    if (page_number > (1ULL << 44))
        return PyErr_Format(PyExc_ValueError, "a file has fewer pages");
    Page *page = new_page(page_number, hashes, stretches, owners, table->bits);
    if (page == NULL)
        return NULL;
    page->file = file_of(table, number);
    if (page->file == NULL) {
        free_page(page);
        Py_RETURN_NONE;
    }
    pthread_mutex_lock(&table->mutex);
    Page **slot = slot_of(table, number, page_number);
    Page *gone = take(slot);
    *slot = page;
    pthread_mutex_unlock(&table->mutex);
    free_page(gone);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(drop_doc, "drop(file)\n\nForget a file and its pages. When this returns, none is read any more.");

static PyObject *drop(PyObject *self, PyObject *argument)
{
    uint64_t number = PyLong_AsUnsignedLongLong(argument);
    if (number == (uint64_t)-1 && PyErr_Occurred())
        return NULL;
    drop_files((ReadTable *)self, 0, number);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(clear_doc, "clear()\n\nForget all files.");

static PyObject *clear(PyObject *self, PyObject *unused)
{
    (void)unused;
    drop_files((ReadTable *)self, 1, 0);
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
    drop_files(table, 1, 0);
    EVP_MD_CTX_free(table->hash);
    pthread_mutex_destroy(&table->mutex);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {
    {"open", open_file, METH_VARARGS, open_doc},
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
