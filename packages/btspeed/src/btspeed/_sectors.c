/* Sectors in bulk: sealing, opening and hashing many of them in one call.
 *
 * The twin of the loops in `btlib.block._cipher`, which is the reference: same arguments, same bytes. Every sector is
 *
 *     stored    = nonce(12) | AES-256-GCM(key, nonce, plain, bound | u64 index) | tag(16)
 *     leaf hash = SHA-256(label | u64 index | stored)
 *
 * Rules: nothing is trusted; every length is checked before a pointer is used; what is opened is first compared with
 * its hash. Whatever is wrong with the *content* of a sector gives None, never an exception: the caller then goes the
 * slow way, which says what it is. Long work runs without the interpreter lock, on buffers that are held meanwhile; who
 * writes to one then gets an answer about either content. Lists are not held: whenever memory is allocated or a buffer
 * taken, others may change them, so an item is looked for again each time, and up to the count that was allocated for.
 *
 * The cryptography is OpenSSL's. Where Intel's multi-buffer library was found at build time and knows this processor
 * (`_many_lanes.h`), many sectors are hashed side by side and sealed with wider instructions, in half the time.
 *
 * It keeps no state but fetched algorithms and idle engines, and opens no file. Only the limited API of Python 3.11 is
 * used.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "_sectors.h"
#ifdef HAVE_IPSEC_MB
#include "_many_lanes.h"
#endif

/* Below this many bytes the work is shorter than waiting for the interpreter lock to come back. */
#define UNLOCK_FROM (64 * 1024)

/* A sector larger than this is none (`btlib.block` allows 1 MiB); it keeps every length within OpenSSL's int. */
#define SECTOR_LIMIT (1 << 24)

static EVP_CIPHER *aes_gcm;
static EVP_MD *sha256;

typedef struct {
    EVP_CIPHER_CTX *cipher;
    EVP_MD_CTX *hash;
    Prefix bound;
    Prefix label;
#ifdef HAVE_IPSEC_MB
    Lanes *lanes; /* NULL: this processor has none */
#endif
} Engine;

static int hash_one(Engine *engine, const Sector *sector, const unsigned char *stored, size_t size,
                    unsigned char *digest)
{
    put_index(&engine->label, sector->index);
    return EVP_DigestInit_ex2(engine->hash, sha256, NULL) == 1 &&
           EVP_DigestUpdate(engine->hash, engine->label.bytes, (size_t)engine->label.size) == 1 &&
           EVP_DigestUpdate(engine->hash, stored, size) == 1 && EVP_DigestFinal_ex(engine->hash, digest, NULL) == 1;
}

/* 1: done; 0: it does not open; -1: OpenSSL failed. */
static int decrypt(Engine *engine, const Sector *sector)
{
    int length, size = (int)sector->in_size - SEAL;
    const unsigned char *body = sector->in + NONCE, *tag = body + size;

    put_index(&engine->bound, sector->index);
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL)
        return lanes_decrypt(engine->lanes, &engine->bound, sector);
#endif
    if (EVP_DecryptInit_ex2(engine->cipher, NULL, NULL, sector->in, NULL) != 1 ||
        EVP_DecryptUpdate(engine->cipher, NULL, &length, engine->bound.bytes, engine->bound.size) != 1 ||
        EVP_DecryptUpdate(engine->cipher, sector->out, &length, body, size) != 1 ||
        EVP_CIPHER_CTX_ctrl(engine->cipher, EVP_CTRL_AEAD_SET_TAG, TAG, (void *)tag) != 1)
        return -1;
    return EVP_DecryptFinal_ex(engine->cipher, sector->out + size, &length) == 1;
}

/* `out` begins with the nonce already. 1: done; -1: OpenSSL failed. */
static int encrypt(Engine *engine, const Sector *sector)
{
    int length, size = (int)sector->in_size;
    unsigned char *body = sector->out + NONCE;

    put_index(&engine->bound, sector->index);
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL)
        return lanes_encrypt(engine->lanes, &engine->bound, sector);
#endif
    if (EVP_EncryptInit_ex2(engine->cipher, NULL, NULL, sector->out, NULL) != 1 ||
        EVP_EncryptUpdate(engine->cipher, NULL, &length, engine->bound.bytes, engine->bound.size) != 1 ||
        EVP_EncryptUpdate(engine->cipher, body, &length, sector->in, size) != 1 ||
        EVP_EncryptFinal_ex(engine->cipher, body + size, &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(engine->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, body + size) != 1)
        return -1;
    return 1;
}

/* The hashes of up to BATCH stored sectors: those that were given, or those that were made. 1: done; -1: OpenSSL failed. */
static int hash_batch(Engine *engine, const Sector *sectors, int count, int made, unsigned char digests[][DIGEST])
{
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL && count >= LANES_FROM && lanes_fit(sectors, count, made))
        return lanes_hash(engine->lanes, &engine->label, sectors, count, made, digests);
#endif
    for (int at = 0; at < count; at++)
        if (!hash_one(engine, &sectors[at], stored_of(&sectors[at], made), stored_size(&sectors[at], made), digests[at]))
            return -1;
    return 1;
}

static int open_batch(Engine *engine, const Sector *sectors, int count)
{
    unsigned char digests[BATCH][DIGEST];
    int done = hash_batch(engine, sectors, count, 0, digests);
    for (int at = 0; done == 1 && at < count; at++)
        done = CRYPTO_memcmp(digests[at], sectors[at].expected, DIGEST) == 0;
    for (int at = 0; done == 1 && at < count; at++)
        done = decrypt(engine, &sectors[at]);
    return done;
}

static int seal_batch(Engine *engine, const Sector *sectors, int count)
{
    unsigned char digests[BATCH][DIGEST];
    int done = 1;
    for (int at = 0; done == 1 && at < count; at++)
        done = encrypt(engine, &sectors[at]);
    if (done == 1)
        done = hash_batch(engine, sectors, count, 1, digests);
    for (int at = 0; done == 1 && at < count; at++)
        memcpy(sectors[at].digest, digests[at], DIGEST);
    return done;
}

/* The arguments that both functions share. False with an exception set. */
static int prepare(Engine *engine, int encrypt, const char *key, Py_ssize_t key_size, const char *bound,
                   Py_ssize_t bound_size, const char *label, Py_ssize_t label_size)
{
    if (key_size != KEY || bound_size > PREFIX_LIMIT || label_size > PREFIX_LIMIT) {
        PyErr_SetString(PyExc_ValueError, "a key has 32 bytes, and what is bound to it at most 128");
        return 0;
    }
    set_prefix(&engine->bound, bound, bound_size);
    set_prefix(&engine->label, label, label_size);
    engine->hash = EVP_MD_CTX_new();
    if (engine->hash == NULL) {
        PyErr_NoMemory();
        return 0;
    }
#ifdef HAVE_IPSEC_MB
    engine->lanes = lanes_take((const unsigned char *)key);
    if (engine->lanes != NULL)
        return 1;
#endif
    engine->cipher = EVP_CIPHER_CTX_new();
    if (engine->cipher == NULL ||
        EVP_CipherInit_ex2(engine->cipher, aes_gcm, (const unsigned char *)key, NULL, encrypt, NULL) != 1) {
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL has no AES-256-GCM here");
        return 0;
    }
    return 1;
}

static void clear(Engine *engine)
{
    EVP_CIPHER_CTX_free(engine->cipher); /* wipes the key */
    EVP_MD_CTX_free(engine->hash);
#ifdef HAVE_IPSEC_MB
    lanes_give_back(engine->lanes);
#endif
}

typedef int (*Batch)(Engine *, const Sector *, int);

/* Do all of it; the result of the first batch that is not done, else 1. */
static int run(Engine *engine, Batch batch, const Sector *sectors, Py_ssize_t count)
{
    int done = 1;
    for (Py_ssize_t at = 0; done == 1 && at < count; at += BATCH)
        done = batch(engine, sectors + at, count - at < BATCH ? (int)(count - at) : BATCH);
    return done;
}

static int run_unlocked(Engine *engine, Batch batch, const Sector *sectors, Py_ssize_t count, Py_ssize_t bytes)
{
    int done;
    if (bytes < UNLOCK_FROM)
        return run(engine, batch, sectors, count);
    Py_BEGIN_ALLOW_THREADS
    done = run(engine, batch, sectors, count);
    Py_END_ALLOW_THREADS
    return done;
}

/* Buffers that stay where they are until they are released. */
typedef struct {
    Py_buffer *views;
    Py_ssize_t held;
} Holds;

/* Takes NULL for an item that is not there any more. False with an exception set. */
static int hold(Holds *holds, PyObject *object, Sector *sector)
{
    Py_buffer *view = &holds->views[holds->held];
    Py_XINCREF(object); /* it may take itself out of its list */
    int got = object == NULL ? -1 : PyObject_GetBuffer(object, view, PyBUF_SIMPLE);
    Py_XDECREF(object);
    if (got < 0)
        return 0;
    holds->held++;
    sector->in = view->buf;
    sector->in_size = view->len;
    return 1;
}

static void release(Holds *holds)
{
    for (Py_ssize_t at = 0; at < holds->held; at++)
        PyBuffer_Release(&holds->views[at]);
    PyMem_Free(holds->views);
}

/* `count` items of a list, or false with an exception set. */
static int is_list_of(PyObject *list, Py_ssize_t count, const char *what)
{
    if (PyList_Check(list) && PyList_Size(list) == count)
        return 1;
    PyErr_Format(PyExc_ValueError, "%s must be a list of %zd", what, count);
    return 0;
}

static int get_index(PyObject *indexes, Py_ssize_t at, uint64_t *index)
{
    PyObject *number = PyList_GetItem(indexes, at);
    if (number == NULL)
        return 0;
    *index = PyLong_AsUnsignedLongLong(number);
    return !(*index == (uint64_t)-1 && PyErr_Occurred());
}

/* 1: copied; 0: it is not as long as a digest; -1: an exception is set. */
static int get_digest(PyObject *digests, Py_ssize_t at, unsigned char *digest)
{
    char *content;
    Py_ssize_t size;
    PyObject *item = PyList_GetItem(digests, at);
    if (item == NULL || PyBytes_AsStringAndSize(item, &content, &size) < 0)
        return -1;
    if (size != DIGEST)
        return 0;
    memcpy(digest, content, DIGEST);
    return 1;
}

/* A fresh bytes object in a list; where its content goes, or NULL with an exception set. */
static unsigned char *new_bytes(PyObject *list, Py_ssize_t at, Py_ssize_t size)
{
    PyObject *fresh = PyBytes_FromStringAndSize(NULL, size);
    if (fresh == NULL)
        return NULL;
    unsigned char *content = (unsigned char *)PyBytes_AsString(fresh);
    PyList_SetItem(list, at, fresh);
    return content;
}

/* Where opened sectors go: each to a bytes object of its own in `list`, or one after another to `joined`, each filled
 * up with zeros to `size`. */
typedef struct {
    PyObject *list;
    unsigned char *joined;
    Py_ssize_t size;
} Target;

static unsigned char *room_for(const Target *target, Py_ssize_t at, Py_ssize_t size)
{
    if (target->joined == NULL)
        return new_bytes(target->list, at, size);
    unsigned char *room = target->joined + at * target->size;
    memset(room + size, 0, (size_t)(target->size - size));
    return room;
}

/* 1: ready; 0: a record or hash cannot be right; -1: an exception is set. */
static int collect_stored(Py_ssize_t count, PyObject *indexes, PyObject *records, PyObject *expected,
                          const Target *target, Sector *sectors, Holds *holds, Py_ssize_t *bytes)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        Sector *sector = &sectors[at];
        if (!get_index(indexes, at, &sector->index))
            return -1;
        PyObject *record = PyList_GetItem(records, at);
        if (record == Py_None)
            return 0;
        if (!hold(holds, record, sector))
            return -1;
        int found = get_digest(expected, at, sector->expected);
        if (found != 1)
            return found;
        if (sector->in_size < SEAL || sector->in_size > target->size + SEAL)
            return 0;
        sector->out = room_for(target, at, sector->in_size - SEAL);
        if (sector->out == NULL)
            return -1;
        *bytes += sector->in_size;
    }
    return 1;
}

/* 1: ready; -1: an exception is set. */
static int collect_plain(Py_ssize_t count, PyObject *indexes, PyObject *plains, const char *nonces, Sector *sectors,
                         Holds *holds, PyObject *stored, PyObject *digests, Py_ssize_t *bytes)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        Sector *sector = &sectors[at];
        if (!get_index(indexes, at, &sector->index) || !hold(holds, PyList_GetItem(plains, at), sector))
            return -1;
        if (sector->in_size > SECTOR_LIMIT) {
            PyErr_SetString(PyExc_ValueError, "a sector is too large");
            return -1;
        }
        sector->out = new_bytes(stored, at, sector->in_size + SEAL);
        sector->digest = new_bytes(digests, at, DIGEST);
        if (sector->out == NULL || sector->digest == NULL)
            return -1;
        memcpy(sector->out, nonces + at * NONCE, NONCE);
        *bytes += sector->in_size;
    }
    return 1;
}

static PyObject *no_memory_left(Sector *sectors, Holds *holds, PyObject *first, PyObject *second)
{
    PyMem_Free(sectors);
    release(holds);
    Py_XDECREF(first);
    Py_XDECREF(second);
    return PyErr_NoMemory();
}

static PyObject *failed(const char *what)
{
    PyErr_SetString(PyExc_RuntimeError, what);
    return NULL;
}

static PyObject *new_result(int joined, Py_ssize_t count, Py_ssize_t size, Target *target)
{
    PyObject *result = joined ? PyBytes_FromStringAndSize(NULL, count * size) : PyList_New(count);
    *target = (Target){result, NULL, size};
    if (joined && result != NULL)
        target->joined = (unsigned char *)PyBytes_AsString(result);
    return result;
}

static PyObject *open_into(int joined, PyObject *args)
{
    const char *key, *bound, *label;
    Py_ssize_t key_size, bound_size, label_size, size, bytes = 0;
    PyObject *indexes, *records, *expected;
    if (!PyArg_ParseTuple(args, "y#y#y#OOOn", &key, &key_size, &bound, &bound_size, &label, &label_size, &indexes,
                          &records, &expected, &size))
        return NULL;
    if (!PyList_Check(indexes) || size < 0 || size > SECTOR_LIMIT)
        return PyErr_Format(PyExc_ValueError, "indexes must be a list, and sectors have 0 to %d bytes", SECTOR_LIMIT);
    Py_ssize_t count = PyList_Size(indexes);
    if (!is_list_of(records, count, "records") || !is_list_of(expected, count, "expected"))
        return NULL;
    if (joined && size > 0 && count > PY_SSIZE_T_MAX / size)
        return PyErr_NoMemory();

    Engine engine = {0};
    Holds holds = {PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer)), 0};
    Sector *sectors = PyMem_Calloc((size_t)count + 1, sizeof(Sector));
    Target target;
    PyObject *result = new_result(joined, count, size, &target);
    if (holds.views == NULL || sectors == NULL || result == NULL)
        return no_memory_left(sectors, &holds, result, NULL);
    int done = collect_stored(count, indexes, records, expected, &target, sectors, &holds, &bytes);
    if (done == 1) {
        done = -1;
        if (prepare(&engine, 0, key, key_size, bound, bound_size, label, label_size)) {
            done = run_unlocked(&engine, open_batch, sectors, count, bytes);
            if (done < 0)
                failed("OpenSSL could not open a sector");
        }
        clear(&engine);
    }
    release(&holds);
    PyMem_Free(sectors);
    if (done == 1)
        return result;
    Py_DECREF(result);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(open_doc,
             "open_sectors(key, bound, label, indexes, records, expected, size) -> list[bytes] | None\n\n"
             "The content of stored sectors of at most `size` bytes, each compared with its hash and opened. None where\n"
             "one is missing, too long, not what was hashed, or does not open.");

static PyObject *open_sectors(PyObject *self, PyObject *args)
{
    (void)self;
    return open_into(0, args);
}

PyDoc_STRVAR(joined_doc,
             "open_joined(key, bound, label, indexes, records, expected, size) -> bytes | None\n\n"
             "The same, one after another, each filled up with zeros to `size` bytes.");

static PyObject *open_joined(PyObject *self, PyObject *args)
{
    (void)self;
    return open_into(1, args);
}

PyDoc_STRVAR(seal_doc,
             "seal_sectors(key, bound, label, indexes, plains, nonces) -> (list[bytes], list[bytes])\n\n"
             "The stored forms and the leaf hashes of sectors. `nonces` has 12 fresh random bytes for each.");

static PyObject *seal_sectors(PyObject *self, PyObject *args)
{
    const char *key, *bound, *label, *nonces;
    Py_ssize_t key_size, bound_size, label_size, nonces_size, bytes = 0;
    PyObject *indexes, *plains;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#OOy#", &key, &key_size, &bound, &bound_size, &label, &label_size, &indexes,
                          &plains, &nonces, &nonces_size))
        return NULL;
    if (!PyList_Check(indexes))
        return PyErr_Format(PyExc_ValueError, "indexes must be a list");
    Py_ssize_t count = PyList_Size(indexes);
    if (!is_list_of(plains, count, "plains"))
        return NULL;
    if (nonces_size / NONCE != count || nonces_size % NONCE)
        return PyErr_Format(PyExc_ValueError, "%zd sectors need %d bytes of nonce each", count, NONCE);

    Engine engine = {0};
    Holds holds = {PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer)), 0};
    Sector *sectors = PyMem_Calloc((size_t)count + 1, sizeof(Sector));
    PyObject *stored = PyList_New(count), *digests = PyList_New(count), *result = NULL;
    if (holds.views == NULL || sectors == NULL || stored == NULL || digests == NULL)
        return no_memory_left(sectors, &holds, stored, digests);
    if (collect_plain(count, indexes, plains, nonces, sectors, &holds, stored, digests, &bytes) == 1) {
        if (prepare(&engine, 1, key, key_size, bound, bound_size, label, label_size)) {
            if (run_unlocked(&engine, seal_batch, sectors, count, bytes) == 1)
                result = PyTuple_Pack(2, stored, digests);
            else
                failed("OpenSSL could not seal a sector");
        }
        clear(&engine);
    }
    release(&holds);
    PyMem_Free(sectors);
    Py_DECREF(stored);
    Py_DECREF(digests);
    return result;
}

/* 1: read and opened; 0: it is not there whole, or not what was hashed; -1: OpenSSL failed. */
static int read_and_open(Engine *engine, Sector *sector, int descriptor, unsigned char *stored, int64_t offset)
{
    if (pread(descriptor, stored, (size_t)sector->in_size, (off_t)offset) != sector->in_size)
        return 0;
    sector->in = stored;
    return open_batch(engine, sector, 1);
}

PyDoc_STRVAR(open_at_doc,
             "open_at(key, bound, label, descriptor, offset, length, index, expected, size) -> bytes | None\n\n"
             "The content of one sector whose stored form lies in a file, as `open_sectors` opens it. None also where it\n"
             "cannot be read.");

static PyObject *open_at(PyObject *self, PyObject *args)
{
    const char *key, *bound, *label, *expected;
    Py_ssize_t key_size, bound_size, label_size, expected_size, length, size;
    unsigned long long index;
    long long offset;
    int descriptor, done;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#iLnKy#n", &key, &key_size, &bound, &bound_size, &label, &label_size, &descriptor,
                          &offset, &length, &index, &expected, &expected_size, &size))
        return NULL;
    if (size < 0 || size > SECTOR_LIMIT)
        return PyErr_Format(PyExc_ValueError, "sectors have 0 to %d bytes", SECTOR_LIMIT);
    if (expected_size != DIGEST || length < SEAL || length > size + SEAL || offset < 0)
        Py_RETURN_NONE;

    Engine engine = {0};
    Sector sector = {.index = index, .in_size = length};
    memcpy(sector.expected, expected, DIGEST);
    PyObject *result = PyBytes_FromStringAndSize(NULL, length - SEAL);
    unsigned char *stored = PyMem_Malloc((size_t)length);
    if (result == NULL || stored == NULL) {
        PyMem_Free(stored);
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    sector.out = (unsigned char *)PyBytes_AsString(result);
    done = prepare(&engine, 0, key, key_size, bound, bound_size, label, label_size) ? 1 : -1;
    if (done == 1) {
        Py_BEGIN_ALLOW_THREADS
        done = read_and_open(&engine, &sector, descriptor, stored, offset);
        Py_END_ALLOW_THREADS
        if (done < 0)
            failed("OpenSSL could not open a sector");
    }
    clear(&engine);
    PyMem_Free(stored);
    if (done == 1)
        return result;
    Py_DECREF(result);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"open_at", open_at, METH_VARARGS, open_at_doc},
    {"open_sectors", open_sectors, METH_VARARGS, open_doc},
    {"open_joined", open_joined, METH_VARARGS, joined_doc},
    {"seal_sectors", seal_sectors, METH_VARARGS, seal_doc},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    (void)module;
    if (aes_gcm == NULL)
        aes_gcm = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    if (sha256 == NULL)
        sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (aes_gcm == NULL || sha256 == NULL) {
        PyErr_SetString(PyExc_ImportError, "OpenSSL 3 with AES-256-GCM and SHA-256 is needed");
        return -1;
    }
    return 0;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_sectors", "Sectors in bulk. See btspeed.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__sectors(void)
{
    return PyModuleDef_Init(&definition);
}
