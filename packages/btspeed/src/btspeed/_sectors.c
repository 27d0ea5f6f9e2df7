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
 * It keeps no state but fetched algorithms and idle engines; it reads from files that others opened (`_from_file.h`). Only the limited API of Python 3.11 is
 * used.
 */

#define _GNU_SOURCE /* sched_getaffinity */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "_engine.h"

/* Below this many bytes the work is shorter than waiting for the interpreter lock to come back. */
#define UNLOCK_FROM (64 * 1024)

/* A sector larger than this is none (`btlib.block` allows 1 MiB); it keeps every length within OpenSSL's int. */
#define SECTOR_LIMIT (1 << 24)

#include "_together.h"

/* Do all of it, with helpers where that is worth it. 1: done; else what a batch returned, or -1 with an exception set. */
static int run_all(const Keys *keys, int encrypt, Batch batch, const Sector *sectors, Py_ssize_t count,
                   Py_ssize_t bytes, const char *complaint)
{
    Engine engine = {0}, second = {0};
    int together = count >= TOGETHER_FROM && has_second_processor(), done = -1;
    if (prepare(&engine, encrypt, keys) && (!together || prepare(&second, encrypt, keys))) {
        done = run_unlocked(&engine, together ? &second : NULL, batch, sectors, count, bytes);
        if (done < 0)
            PyErr_SetString(PyExc_RuntimeError, complaint);
    }
    clear(&engine);
    clear(&second);
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

/* What opening comes to, `result` being given away: 1: that; 0: None; -1: NULL, an exception is set. */
static PyObject *outcome(int done, PyObject *result)
{
    if (done == 1)
        return result;
    Py_DECREF(result);
    if (done < 0)
        return NULL;
    Py_RETURN_NONE;
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
    Keys keys;
    Py_ssize_t size, bytes = 0;
    PyObject *indexes, *records, *expected;
    if (!PyArg_ParseTuple(args, "y#y#y#OOOn", &keys.key, &keys.key_size, &keys.bound, &keys.bound_size, &keys.label,
                          &keys.label_size, &indexes, &records, &expected, &size))
        return NULL;
    if (!PyList_Check(indexes) || size < 0 || size > SECTOR_LIMIT)
        return PyErr_Format(PyExc_ValueError, "indexes must be a list, and sectors have 0 to %d bytes", SECTOR_LIMIT);
    Py_ssize_t count = PyList_Size(indexes);
    if (!is_list_of(records, count, "records") || !is_list_of(expected, count, "expected"))
        return NULL;
    if (joined && size > 0 && count > PY_SSIZE_T_MAX / size)
        return PyErr_NoMemory();

    Holds holds = {PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer)), 0};
    Sector *sectors = PyMem_Calloc((size_t)count + 1, sizeof(Sector));
    Target target;
    PyObject *result = new_result(joined, count, size, &target);
    if (holds.views == NULL || sectors == NULL || result == NULL)
        return no_memory_left(sectors, &holds, result, NULL);
    int done = collect_stored(count, indexes, records, expected, &target, sectors, &holds, &bytes);
    if (done == 1)
        done = run_all(&keys, 0, open_batch, sectors, count, bytes, "OpenSSL could not open a sector");
    release(&holds);
    PyMem_Free(sectors);
    return outcome(done, result);
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
    Keys keys;
    const char *nonces;
    Py_ssize_t nonces_size, bytes = 0;
    PyObject *indexes, *plains;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#OOy#", &keys.key, &keys.key_size, &keys.bound, &keys.bound_size, &keys.label,
                          &keys.label_size, &indexes, &plains, &nonces, &nonces_size))
        return NULL;
    if (!PyList_Check(indexes))
        return PyErr_Format(PyExc_ValueError, "indexes must be a list");
    Py_ssize_t count = PyList_Size(indexes);
    if (!is_list_of(plains, count, "plains"))
        return NULL;
    if (nonces_size / NONCE != count || nonces_size % NONCE)
        return PyErr_Format(PyExc_ValueError, "%zd sectors need %d bytes of nonce each", count, NONCE);

    Holds holds = {PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer)), 0};
    Sector *sectors = PyMem_Calloc((size_t)count + 1, sizeof(Sector));
    PyObject *stored = PyList_New(count), *digests = PyList_New(count), *result = NULL;
    if (holds.views == NULL || sectors == NULL || stored == NULL || digests == NULL)
        return no_memory_left(sectors, &holds, stored, digests);
    if (collect_plain(count, indexes, plains, nonces, sectors, &holds, stored, digests, &bytes) == 1 &&
        run_all(&keys, 1, seal_batch, sectors, count, bytes, "OpenSSL could not seal a sector") == 1)
        result = PyTuple_Pack(2, stored, digests);
    release(&holds);
    PyMem_Free(sectors);
    Py_DECREF(stored);
    Py_DECREF(digests);
    return result;
}

/* 1: ready; -1: an exception is set. */
static int collect_hashed(Py_ssize_t count, PyObject *indexes, PyObject *records, Sector *sectors, Holds *holds,
                          PyObject *digests, Py_ssize_t *bytes)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        Sector *sector = &sectors[at];
        if (!get_index(indexes, at, &sector->index) || !hold(holds, PyList_GetItem(records, at), sector))
            return -1;
        if (sector->in_size > SECTOR_LIMIT) {
            PyErr_SetString(PyExc_ValueError, "a sector is too large");
            return -1;
        }
        sector->digest = new_bytes(digests, at, DIGEST);
        if (sector->digest == NULL)
            return -1;
        *bytes += sector->in_size;
    }
    return 1;
}

PyDoc_STRVAR(hash_doc,
             "hash_sectors(label, indexes, records) -> list[bytes]\n\n"
             "The leaf hashes of stored sectors.");

static PyObject *hash_sectors(PyObject *self, PyObject *args)
{
    static const char no_key[KEY];
    Keys keys = {.key = no_key, .key_size = KEY, .bound = "", .bound_size = 0};
    Py_ssize_t bytes = 0;
    PyObject *indexes, *records;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#OO", &keys.label, &keys.label_size, &indexes, &records))
        return NULL;
    if (!PyList_Check(indexes))
        return PyErr_Format(PyExc_ValueError, "indexes must be a list");
    Py_ssize_t count = PyList_Size(indexes);
    if (!is_list_of(records, count, "records"))
        return NULL;

    Holds holds = {PyMem_Calloc((size_t)count + 1, sizeof(Py_buffer)), 0};
    Sector *sectors = PyMem_Calloc((size_t)count + 1, sizeof(Sector));
    PyObject *digests = PyList_New(count);
    if (holds.views == NULL || sectors == NULL || digests == NULL)
        return no_memory_left(sectors, &holds, digests, NULL);
    int done = collect_hashed(count, indexes, records, sectors, &holds, digests, &bytes);
    if (done == 1)
        done = run_all(&keys, 1, digest_batch, sectors, count, bytes, "OpenSSL could not hash a sector");
    release(&holds);
    PyMem_Free(sectors);
    if (done == 1)
        return digests;
    Py_DECREF(digests);
    return NULL;
}

#include "_from_file.h"

static PyMethodDef methods[] = {
    {"hash_sectors", hash_sectors, METH_VARARGS, hash_doc},
    {"open_at", open_at, METH_VARARGS, open_at_doc},
    {"open_sectors", open_sectors, METH_VARARGS, open_doc},
    {"open_stretches", open_stretches, METH_VARARGS, stretches_doc},
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
