/* Sectors that are opened where they lie in files, without an object for each. */

#pragma once

/* Runs of records that a chunk may lie in: it has 256 sectors, and most have one run. */
enum { RUN_LIMIT = 256 };

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
    Keys keys;
    const char *expected;
    Py_ssize_t expected_size, length, size;
    unsigned long long index;
    long long offset;
    int descriptor, done;
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#iLnKy#n", &keys.key, &keys.key_size, &keys.bound, &keys.bound_size, &keys.label,
                          &keys.label_size, &descriptor, &offset, &length, &index, &expected, &expected_size, &size))
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
    done = prepare(&engine, 0, &keys) ? 1 : -1;
    if (done == 1) {
        Py_BEGIN_ALLOW_THREADS
        done = read_and_open(&engine, &sector, descriptor, stored, offset);
        Py_END_ALLOW_THREADS
        if (done < 0)
            failed("OpenSSL could not open a sector");
    }
    clear(&engine);
    PyMem_Free(stored);
    return outcome(done, result);
}

/* `length` records from number `first` on, one after another from `offset` of a file, the last one of `last` bytes. */
typedef struct {
    unsigned long long first;
    Py_ssize_t length, size, last;
    long long offset;
    int descriptor;
} Run;

/* The runs of a tuple of tuples, in order and side by side, for sectors `first` to `end`: how many. 0: they do not hold
 * all of these, or cannot be right; -1: an exception is set. */
static int get_runs(PyObject *tuple, uint64_t first, uint64_t end, Py_ssize_t limit, Run *runs)
{
    Py_ssize_t count = PyTuple_Size(tuple);
    if (count > RUN_LIMIT)
        return 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        Run *run = &runs[at];
        PyObject *item = PyTuple_GetItem(tuple, at);
        if (item == NULL)
            return -1;
        if (!PyTuple_Check(item)) {
            PyErr_SetString(PyExc_TypeError, "a run is a tuple of six numbers");
            return -1;
        }
        if (!PyArg_ParseTuple(item, "KniLnn", &run->first, &run->length, &run->descriptor, &run->offset, &run->size,
                              &run->last))
            return -1;
        if (at == 0 ? run->first > first : run->first != first)
            return 0;
        if (run->length < 1 || run->length > LLONG_MAX / limit || run->offset < 0 ||
            run->offset > LLONG_MAX - limit * run->length || run->size < SEAL || run->size > limit ||
            run->last < SEAL || run->last > limit || run->first > UINT64_MAX - (uint64_t)run->length)
            return 0;
        first = run->first + (uint64_t)run->length;
    }
    return first < end ? 0 : (int)count;
}

/* Where the content of the sectors goes, and what their hashes must be. */
typedef struct {
    uint64_t first;
    Py_ssize_t count, size;
    const unsigned char *hashes;
    unsigned char *out;
    unsigned char *stored; /* room for a batch */
} Chunk;

/* Read `count` sectors from number `index` on, that lie in one run. */
static int read_sectors(const Run *run, uint64_t index, int count, const Chunk *chunk, Sector *sectors,
                        unsigned char *stored)
{
    Py_ssize_t at = (Py_ssize_t)(index - run->first), size = 0;
    for (int each = 0; each < count; each++) {
        Sector *sector = &sectors[each];
        Py_ssize_t place = (Py_ssize_t)(index + (uint64_t)each - chunk->first);
        sector->index = index + (uint64_t)each;
        sector->in = stored + size;
        sector->in_size = at + each == run->length - 1 ? run->last : run->size;
        sector->out = chunk->out + place * chunk->size;
        memcpy(sector->expected, chunk->hashes + place * DIGEST, DIGEST);
        memset(sector->out + sector->in_size - SEAL, 0, (size_t)(chunk->size + SEAL - sector->in_size));
        size += sector->in_size;
    }
    return pread(run->descriptor, stored, (size_t)size, (off_t)(run->offset + at * run->size)) == size;
}

/* 1: read and opened; 0: something is not there whole, or not what was hashed; -1: OpenSSL failed. */
static int open_chunk(Engine *engine, const Run *run, const Chunk *chunk)
{
    Sector sectors[BATCH];
    Py_ssize_t at = 0;
    while (at < chunk->count) {
        int filled = 0;
        while (filled < BATCH && at < chunk->count) {
            uint64_t index = chunk->first + (uint64_t)at, end;
            while ((end = run->first + (uint64_t)run->length) <= index)
                run++;
            Py_ssize_t count = chunk->count - at;
            if (count > BATCH - filled)
                count = BATCH - filled;
            if ((uint64_t)count > end - index)
                count = (Py_ssize_t)(end - index);
            if (!read_sectors(run, index, (int)count, chunk, sectors + filled,
                              chunk->stored + filled * (chunk->size + SEAL)))
                return 0;
            filled += (int)count;
            at += count;
        }
        int done = open_batch(engine, sectors, filled);
        if (done != 1)
            return done;
    }
    return 1;
}

PyDoc_STRVAR(stretches_doc,
             "open_stretches(key, bound, label, first, hashes, runs, size) -> bytes | None\n\n"
             "The content of consecutive sectors from number `first` on, as many as there are hashes, as `open_joined`\n"
             "opens it. `runs` is a tuple of (first, length, descriptor, offset, size, last), where the stored forms lie.\n"
             "None also where they do not hold all of them, or cannot be read.");

static PyObject *open_stretches(PyObject *self, PyObject *args)
{
    Keys keys;
    const char *hashes;
    Py_ssize_t hashes_size, size;
    unsigned long long first;
    PyObject *tuple;
    Run runs[RUN_LIMIT];
    (void)self;
    if (!PyArg_ParseTuple(args, "y#y#y#Ky#O!n", &keys.key, &keys.key_size, &keys.bound, &keys.bound_size, &keys.label,
                          &keys.label_size, &first, &hashes, &hashes_size, &PyTuple_Type, &tuple, &size))
        return NULL;
    if (size < 0 || size > SECTOR_LIMIT || hashes_size % DIGEST)
        return PyErr_Format(PyExc_ValueError, "sectors have 0 to %d bytes, and hashes %d", SECTOR_LIMIT, DIGEST);
    Py_ssize_t count = hashes_size / DIGEST;
    if (first > UINT64_MAX - (uint64_t)count || (size > 0 && count > PY_SSIZE_T_MAX / size))
        return PyErr_Format(PyExc_ValueError, "there are no %zd sectors from %llu on", count, first);
    int found = get_runs(tuple, first, first + (uint64_t)count, size + SEAL, runs);
    if (found < 0)
        return NULL;
    if (found == 0)
        Py_RETURN_NONE;

    Engine engine = {0};
    PyObject *result = PyBytes_FromStringAndSize(NULL, count * size);
    unsigned char *stored = PyMem_Malloc((size_t)BATCH * (size_t)(size + SEAL));
    if (result == NULL || stored == NULL) {
        PyMem_Free(stored);
        Py_XDECREF(result);
        return PyErr_NoMemory();
    }
    const Chunk chunk = {first, count, size, (const unsigned char *)hashes, (unsigned char *)PyBytes_AsString(result),
                         stored};
    int done = prepare(&engine, 0, &keys) ? 1 : -1;
    if (done == 1) {
        Py_BEGIN_ALLOW_THREADS
        done = open_chunk(&engine, runs, &chunk);
        Py_END_ALLOW_THREADS
        if (done < 0)
            failed("OpenSSL could not open a sector");
    }
    clear(&engine);
    PyMem_Free(stored);
    return outcome(done, result);
}
