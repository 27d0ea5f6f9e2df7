/* One turn of a FUSE session: write the answer to the last request, and wait for the next.
 *
 *     exchange(descriptor, buffer, unique, body, patience, score) -> head | None
 *
 * The twin of `btfuse._receiving.PlainExchange`, which says what it means. It exists because between two requests the
 * interpreter would otherwise run for longer than the kernel does, and give its lock away twice. Everything between
 * answer and request runs without that lock. `body` and `buffer` are held meanwhile; `score` is three words that the
 * caller alone reads and writes besides, except that its spinning thread reads the first two.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WAITED, IS_OVER, SCORE, WORDS }; /* of `score` */

typedef struct {
    uint32_t length, opcode;
    uint64_t unique, node;
    uint32_t uid, gid, pid;
    uint16_t extension, padding;
} Head;

typedef struct {
    uint32_t length;
    int32_t error;
    uint64_t unique;
} Answer;

_Static_assert(sizeof(Head) == 40 && sizeof(Answer) == 16, "linux/fuse.h");

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* What cannot be written is answered with the reason; who does not wait any more needs no answer. */
static void answer(int descriptor, uint64_t unique, const Py_buffer *body)
{
    Answer head = {(uint32_t)(sizeof head + (size_t)body->len), 0, unique};
    struct iovec parts[2] = {{&head, sizeof head}, {body->buf, (size_t)body->len}};
    if (writev(descriptor, parts, body->len ? 2 : 1) >= 0 || errno == ENOENT || errno == ENODEV || errno == ECONNABORTED)
        return;
    Answer refusal = {sizeof refusal, -errno, unique};
    ssize_t written = write(descriptor, &refusal, sizeof refusal);
    (void)written;
}

/* The size of the next request, 0 where there will be none, or -1 with errno. */
static ssize_t next(int descriptor, const Py_buffer *buffer, int64_t patience, int *waited)
{
    ssize_t size = read(descriptor, buffer->buf, (size_t)buffer->len);
    if (size >= 0 || errno != EAGAIN)
        return size;
    *waited = 1;
    int64_t end = now() + patience;
    for (;;) {
        size = read(descriptor, buffer->buf, (size_t)buffer->len);
        if (size >= 0 || errno != EAGAIN)
            return size;
        if (now() <= end)
            continue;
        struct pollfd asked = {descriptor, POLLIN, 0};
        if (poll(&asked, 1, -1) < 0)
            return -1;
    }
}

static void keep_score(uint64_t *score, int waited, uint64_t full, uint64_t step)
{
    if (waited) {
        score[WAITED]++;
        if (score[SCORE] < full)
            score[SCORE]++;
    } else if (score[SCORE]) {
        score[SCORE] -= score[SCORE] < step ? score[SCORE] : step;
        if (score[SCORE] == 0)
            score[IS_OVER] = 1;
    }
}

static PyObject *unpack(const Py_buffer *buffer)
{
    Head head;
    memcpy(&head, buffer->buf, sizeof head);
    return Py_BuildValue("(IIKKIIIHH)", head.length, head.opcode, (unsigned long long)head.unique,
                         (unsigned long long)head.node, head.uid, head.gid, head.pid, head.extension, head.padding);
}

static PyObject *take_turn(int descriptor, Py_buffer *buffer, uint64_t unique, Py_buffer *body, int64_t patience,
                           Py_buffer *score, uint64_t full, uint64_t step)
{
    int waited = 0;
    ssize_t size;
    Py_BEGIN_ALLOW_THREADS
    if (body != NULL)
        answer(descriptor, unique, body);
    size = next(descriptor, buffer, patience, &waited);
    Py_END_ALLOW_THREADS
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    keep_score(score->buf, waited, full, step);
    if (size == 0)
        Py_RETURN_NONE;
    if ((size_t)size < sizeof(Head)) {
        PyErr_SetString(PyExc_ValueError, "a request is shorter than its header");
        return NULL;
    }
    return unpack(buffer);
}

static PyObject *exchange(PyObject *self, PyObject *args)
{
    int descriptor;
    Py_buffer buffer, score, body;
    unsigned long long unique, full, step;
    long long patience;
    PyObject *given, *head = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iw*KOLw*KK", &descriptor, &buffer, &unique, &given, &patience, &score, &full, &step))
        return NULL;
    int answers = given != Py_None;
    if ((size_t)buffer.len < sizeof(Head) || score.len != WORDS * (Py_ssize_t)sizeof(uint64_t) ||
        (uintptr_t)score.buf % sizeof(uint64_t) != 0) {
        PyErr_SetString(PyExc_ValueError, "a buffer has room for a header, and a score three aligned words");
    } else if (!answers || PyObject_GetBuffer(given, &body, PyBUF_SIMPLE) == 0) {
        if (answers && body.len > INT32_MAX)
            PyErr_SetString(PyExc_ValueError, "an answer is too large");
        else
            head = take_turn(descriptor, &buffer, unique, answers ? &body : NULL, patience, &score, full, step);
        if (answers)
            PyBuffer_Release(&body);
    }
    PyBuffer_Release(&score);
    PyBuffer_Release(&buffer);
    return head;
}

PyDoc_STRVAR(exchange_doc,
             "exchange(descriptor, buffer, unique, body, patience, score, full, step) -> tuple | None\n\n"
             "Answer request `unique` with `body` unless that is None, and read the next one: the fields of its header, or\n"
             "None where there will be none. Looks for `patience` nanoseconds before it sleeps. Raises OSError.");

static PyMethodDef methods[] = {
    {"exchange", exchange, METH_VARARGS, exchange_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_requests", "A turn of a FUSE session. See btspeed.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__requests(void)
{
    return PyModuleDef_Init(&definition);
}
