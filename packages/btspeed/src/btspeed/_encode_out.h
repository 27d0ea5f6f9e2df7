/* Where an encoding grows: bytes written so far, and large contents that are only copied once, at the end.
 *
 *     Out                 first bytes on the stack, more of them in one block of memory
 *     put_raw, put_byte   append
 *     put_length          append a length in its shortest form
 *     put_content         append the content of a bytes-like object, or hold it until the end
 *     finish              all of it as a bytes object
 *
 * Everything that appends answers 1 for done and 0 for given up; then an exception may be set, and need not be.
 */

#include <endian.h>
#include <stdint.h>
#include <string.h>

/* Most messages are smaller than this, and need no memory but their result. */
#define FIRST 512

/* The first block of memory: a listing of a few hundred names. */
#define SECOND 8192

/* Copying less than this twice costs less than holding it (`LARGE_PART` of `btserde._bytes`). */
#define LARGE 4096

/* A message has one large body, seldom two; more than this many are copied twice. */
#define HOLDS 4

/* A large content, and how many bytes stand before it in the block. */
typedef struct {
    Py_buffer view;
    size_t at;
} Hold;

typedef struct {
    char *base, *at, *end;
    size_t limit;     /* no encoding is longer */
    size_t held;      /* bytes of all held contents */
    int holds;
    Hold hold[HOLDS];
    char first[FIRST];
} Out;

static void out_init(Out *out, size_t limit)
{
    out->base = out->at = out->first;
    out->end = out->first + FIRST;
    out->limit = limit;
    out->held = 0;
    out->holds = 0;
}

static void out_clear(Out *out)
{
    for (int at = 0; at < out->holds; at++)
        PyBuffer_Release(&out->hold[at].view);
    if (out->base != out->first)
        PyMem_Free(out->base);
}

static size_t out_size(const Out *out)
{
    return (size_t)(out->at - out->base) + out->held;
}

/* Whether `n` bytes more are still within the limit; the sum of what is there never overflows. */
static int out_allows(const Out *out, size_t n)
{
    size_t size = out_size(out);
    return size <= out->limit && n <= out->limit - size;
}

static int grow(Out *out, size_t n)
{
    size_t used = (size_t)(out->at - out->base), capacity = (size_t)(out->end - out->base) * 2;
    if (!out_allows(out, n))
        return 0;
    if (capacity < SECOND)
        capacity = SECOND;
    if (capacity < used + n)
        capacity = used + n;
    char *moved = PyMem_Realloc(out->base == out->first ? NULL : out->base, capacity);
    if (moved == NULL)
        return 0;
    if (out->base == out->first)
        memcpy(moved, out->first, used);
    out->base = moved;
    out->at = moved + used;
    out->end = moved + capacity;
    return 1;
}

/* Make room for `n` bytes at `out->at`. */
static inline int reserve(Out *out, size_t n)
{
    return n <= (size_t)(out->end - out->at) || grow(out, n);
}

static inline int put_raw(Out *out, const char *bytes, size_t n)
{
    if (!reserve(out, n))
        return 0;
    memcpy(out->at, bytes, n);
    out->at += n;
    return 1;
}

static inline int put_byte(Out *out, unsigned char byte)
{
    if (!reserve(out, 1))
        return 0;
    *out->at++ = (char)byte;
    return 1;
}

/* The low `n` bytes of a number, least first; at most 8. */
static inline int put_number(Out *out, uint64_t number, size_t n)
{
    if (!reserve(out, 8))
        return 0;
    number = htole64(number);
    memcpy(out->at, &number, 8);
    out->at += n;
    return 1;
}

static inline int put_length(Out *out, Py_ssize_t n)
{
    if (n <= 252)
        return put_byte(out, (unsigned char)n);
    if (n <= 0xFFFF)
        return put_byte(out, 253) && put_number(out, (uint64_t)n, 2);
    return n <= 0xFFFFFFFF && put_byte(out, 254) && put_number(out, (uint64_t)n, 4);
}

static inline int is_bytes_like(PyObject *value)
{
    return PyBytes_CheckExact(value) || PyByteArray_CheckExact(value) || PyMemoryView_Check(value);
}

/* The number of bytes of a bytes-like object, or -1: other kinds than these are the reference's. */
static Py_ssize_t content_size(PyObject *value)
{
    Py_buffer view;
    if (PyBytes_CheckExact(value))
        return PyBytes_Size(value);
    if (!is_bytes_like(value) || PyObject_GetBuffer(value, &view, PyBUF_SIMPLE) < 0)
        return -1;
    Py_ssize_t size = view.len;
    PyBuffer_Release(&view);
    return size;
}

/* Append the content of something that had `size` bytes just now. */
static int put_content(Out *out, PyObject *value, Py_ssize_t size)
{
    Hold *next = &out->hold[out->holds];
    Py_buffer local, *view = size >= LARGE && out->holds < HOLDS ? &next->view : &local;
    if (view == &local && PyBytes_CheckExact(value))
        return put_raw(out, PyBytes_AsString(value), (size_t)size);
    if (PyObject_GetBuffer(value, view, PyBUF_SIMPLE) < 0)
        return 0;
    int done = view->len == size && out_allows(out, (size_t)size);
    if (done && view == &next->view) {
        next->at = (size_t)(out->at - out->base);
        out->holds++;
        out->held += (size_t)size;
        return 1;
    }
    done = done && put_raw(out, view->buf, (size_t)size);
    PyBuffer_Release(view);
    return done;
}

/* The encoding, or NULL if it is too long or there is no memory. */
static PyObject *finish(Out *out)
{
    size_t size = out_size(out), from = 0;
    if (size > out->limit)
        return NULL;
    if (out->holds == 0)
        return PyBytes_FromStringAndSize(out->base, (Py_ssize_t)size);
    PyObject *result = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size);
    if (result == NULL)
        return NULL;
    char *to = PyBytes_AsString(result);
    for (int at = 0; at < out->holds; at++) {
        const Hold *next = &out->hold[at];
        memcpy(to, out->base + from, next->at - from);
        to += next->at - from;
        from = next->at;
        memcpy(to, next->view.buf, (size_t)next->view.len);
        to += next->view.len;
    }
    memcpy(to, out->base + from, (size_t)(out->at - out->base) - from);
    return result;
}
