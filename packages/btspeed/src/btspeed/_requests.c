/* One turn of a FUSE session: write the answer to the last request, and wait for the next.
 *
 *     exchange(descriptor, buffer, unique, body, patience, score, full, step, held) -> head | None
 *
 * The twin of `btfuse._receiving.PlainExchange`, which says what it means. It exists because between two requests the
 * interpreter would otherwise run for longer than the kernel does, and give its lock away twice. Everything between
 * answer and request runs without that lock. `body` and `buffer` are held meanwhile; `score` is four words that the
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

enum { WAITED, IS_OVER, SCORE, AT_ONCE, WORDS }; /* of `score` */

/* Answers are held back for that of a small read that waits already: a processor that sleeps is woken once for all. */
enum { READ = 15, READ_SIZE_AT = 40 + 16, HELD_LIMIT = 8192, MOST_HELD = 3 };

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

static int is_small_read(const Py_buffer *buffer, ssize_t size)
{
    uint32_t opcode, wanted;
    if (size < READ_SIZE_AT + (ssize_t)sizeof wanted)
        return 0;
    memcpy(&opcode, (const char *)buffer->buf + 4, sizeof opcode);
    memcpy(&wanted, (const char *)buffer->buf + READ_SIZE_AT, sizeof wanted);
    return opcode == READ && wanted <= HELD_LIMIT;
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

typedef struct {
    int given;
    uint64_t unique;
    Py_buffer body;
} Reply;

typedef struct {
    int descriptor;
    Py_buffer buffer, score;
    Reply held[MOST_HELD], reply; /* those of requests before, and that of the last one */
    Py_ssize_t held_count;
    int64_t patience;
    uint64_t full, step;
    int waited, holds; /* results */
} Turn;

static void keep_score(const Turn *turn)
{
    uint64_t *score = turn->score.buf;
    score[AT_ONCE] = !turn->waited;
    if (turn->waited) {
        score[WAITED]++;
        if (score[SCORE] < turn->full)
            score[SCORE]++;
    } else if (score[SCORE]) {
        score[SCORE] -= score[SCORE] < turn->step ? score[SCORE] : turn->step;
        if (score[SCORE] == 0)
            score[IS_OVER] = 1;
    }
}

static void write_replies(const Turn *turn)
{
    for (Py_ssize_t at = 0; at < turn->held_count; at++)
        answer(turn->descriptor, turn->held[at].unique, &turn->held[at].body);
    if (turn->reply.given)
        answer(turn->descriptor, turn->reply.unique, &turn->reply.body);
}

/* The size of the next request, 0 where there will be none, or -1 with errno; without the interpreter lock. */
static ssize_t run(Turn *turn, int may_hold)
{
    if (may_hold && turn->reply.given && turn->held_count < MOST_HELD && turn->reply.body.len <= HELD_LIMIT) {
        ssize_t size = read(turn->descriptor, turn->buffer.buf, (size_t)turn->buffer.len);
        int error = errno;
        turn->holds = size > 0 && is_small_read(&turn->buffer, size);
        if (turn->holds)
            return size;
        write_replies(turn);
        errno = error;
        if (size >= 0 || error != EAGAIN)
            return size;
    } else {
        write_replies(turn);
    }
    return next(turn->descriptor, &turn->buffer, turn->patience, &turn->waited);
}

static PyObject *unpack(const Py_buffer *buffer)
{
    Head head;
    memcpy(&head, buffer->buf, sizeof head);
    return Py_BuildValue("(IIKKIIIHH)", head.length, head.opcode, (unsigned long long)head.unique,
                         (unsigned long long)head.node, head.uid, head.gid, head.pid, head.extension, head.padding);
}

/* What was held back; its buffers stay until the end of the turn. False with an exception set. */
static int take_held(PyObject *held, Turn *turn)
{
    Py_ssize_t count = PyList_Size(held);
    if (count > MOST_HELD) {
        PyErr_SetString(PyExc_ValueError, "too many answers are held back");
        return 0;
    }
    for (; turn->held_count < count; turn->held_count++) {
        PyObject *pair = PyList_GetItem(held, turn->held_count), *body;
        Reply *reply = &turn->held[turn->held_count];
        unsigned long long unique;
        if (pair == NULL || !PyArg_ParseTuple(pair, "KO", &unique, &body) ||
            PyObject_GetBuffer(body, &reply->body, PyBUF_SIMPLE) < 0)
            return 0;
        reply->unique = unique;
    }
    return 1;
}

static int hold(PyObject *held, const Turn *turn, PyObject *body)
{
    PyObject *pair = Py_BuildValue("(KO)", (unsigned long long)turn->reply.unique, body);
    int done = pair != NULL && PyList_Append(held, pair) == 0;
    Py_XDECREF(pair);
    return done;
}

static PyObject *take_turn(Turn *turn, PyObject *body, PyObject *held)
{
    int may_hold = held != Py_None && ((uint64_t *)turn->score.buf)[AT_ONCE];
    if (held != Py_None && !take_held(held, turn))
        return NULL;
    ssize_t size;
    int error;
    Py_BEGIN_ALLOW_THREADS
    size = run(turn, may_hold);
    error = errno;
    Py_END_ALLOW_THREADS
    if (turn->holds ? !hold(held, turn, body) : turn->held_count && PyList_SetSlice(held, 0, turn->held_count, NULL) < 0)
        return NULL;
    errno = error;
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    keep_score(turn);
    if (size == 0)
        Py_RETURN_NONE;
    if ((size_t)size < sizeof(Head)) {
        PyErr_SetString(PyExc_ValueError, "a request is shorter than its header");
        return NULL;
    }
    return unpack(&turn->buffer);
}

static PyObject *exchange(PyObject *self, PyObject *args)
{
    Turn turn = {0};
    unsigned long long unique, full, step;
    long long patience;
    PyObject *body, *held, *head = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "iw*KOLw*KKO", &turn.descriptor, &turn.buffer, &unique, &body, &patience, &turn.score,
                          &full, &step, &held))
        return NULL;
    turn.reply.unique = unique;
    turn.patience = patience;
    turn.full = full;
    turn.step = step;
    if ((size_t)turn.buffer.len < sizeof(Head) || turn.score.len != WORDS * (Py_ssize_t)sizeof(uint64_t) ||
        (uintptr_t)turn.score.buf % sizeof(uint64_t) != 0 || (held != Py_None && !PyList_Check(held))) {
        PyErr_SetString(PyExc_ValueError, "a buffer has room for a header, a score four aligned words; held is a list");
    } else if (body == Py_None || PyObject_GetBuffer(body, &turn.reply.body, PyBUF_SIMPLE) == 0) {
        turn.reply.given = body != Py_None;
        if (turn.reply.given && turn.reply.body.len > INT32_MAX)
            PyErr_SetString(PyExc_ValueError, "an answer is too large");
        else
            head = take_turn(&turn, body, held);
    }
    for (Py_ssize_t at = 0; at < turn.held_count; at++)
        PyBuffer_Release(&turn.held[at].body);
    if (turn.reply.given)
        PyBuffer_Release(&turn.reply.body);
    PyBuffer_Release(&turn.score);
    PyBuffer_Release(&turn.buffer);
    return head;
}

PyDoc_STRVAR(exchange_doc,
             "exchange(descriptor, buffer, unique, body, patience, score, full, step, held) -> tuple | None\n\n"
             "Answer request `unique` with `body` unless that is None, and read the next one: the fields of its header, or\n"
             "None where there will be none. Looks for `patience` nanoseconds before it sleeps. Raises OSError. Where requests\n"
             "wait, a small answer may be put into the list `held`, until that of a small read is given.");

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
