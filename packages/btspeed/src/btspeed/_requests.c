/* One turn of a FUSE session: write the answer to the last request, and wait for the next.
 *
 *     exchange(descriptor, buffer, unique, body, patience, score, full, step, reads) -> head | None
 *
 * The twin of `btfuse._receiving.PlainExchange`, which says what it means. It exists because between two requests the
 * interpreter would otherwise run for longer than the kernel does, and give its lock away twice. Everything between
 * answer and request runs without that lock. `body` and `buffer` are held meanwhile; `score` is five words that the
 * caller and its spinning thread read and write besides.
 *
 * A READ that the table `reads` can serve is answered here, and then the next request waited for: the interpreter sees
 * nothing of it, nor of what has the same answer always (`served`). But now and then it is handed one, because it may have
 * a signal to handle.
 */

#include "_reads.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WAITED, IS_OVER, SCORE, SPINS, IN_VAIN, WORDS }; /* of `score` */

enum { GIVE_UP = 4, TRY_AGAIN = 16 }; /* looks in vain until looking stops, and of how many waits one looks again */

enum { READ = 15, RELEASE = 18, GETXATTR = 22 }; /* opcodes */
enum { READ_HEADER = 24, GETXATTR_HEADER = 8, IN_A_ROW = 256 };
enum { USER = sizeof "user." - 1, TRUSTED = sizeof "trusted." - 1 };

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

/* The beginning of the body of a READ. */
typedef struct {
    uint64_t handle, offset;
    uint32_t size, flags;
} Range;

_Static_assert(sizeof(Head) == 40 && sizeof(Answer) == 16 && sizeof(Range) == READ_HEADER, "linux/fuse.h");

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void refuse(int descriptor, uint64_t unique, int error)
{
    Answer refusal = {sizeof refusal, -error, unique};
    ssize_t written = write(descriptor, &refusal, sizeof refusal);
    (void)written;
}

/* What cannot be written is answered with the reason; who does not wait any more needs no answer. */
static void answer(int descriptor, uint64_t unique, const void *body, size_t size)
{
    Answer head = {(uint32_t)(sizeof head + size), 0, unique};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)body, size}};
    if (writev(descriptor, parts, size ? 2 : 1) >= 0 || errno == ENOENT || errno == ENODEV || errno == ECONNABORTED)
        return;
    refuse(descriptor, unique, errno);
}

/* The size of the next request, 0 where there will be none, or -1 with errno. Who works for longer between two requests
 * than it is looked for needs the processor himself: after some looks in vain one looks only now and then. */
static ssize_t next(int descriptor, const Py_buffer *buffer, int64_t patience, uint64_t *in_vain, int *waited)
{
    ssize_t size = read(descriptor, buffer->buf, (size_t)buffer->len);
    if (size >= 0 || errno != EAGAIN)
        return size;
    *waited = 1;
    int looks = *in_vain < GIVE_UP || *in_vain % TRY_AGAIN == 0;
    int64_t end = looks ? now() + patience : 0;
    for (;;) {
        if (looks) {
            size = read(descriptor, buffer->buf, (size_t)buffer->len);
            if (size >= 0 || errno != EAGAIN) {
                *in_vain = 0;
                return size;
            }
            if (now() <= end)
                continue;
            looks = 0;
        }
        (*in_vain)++;
        struct pollfd asked = {descriptor, POLLIN, 0};
        if (poll(&asked, 1, -1) < 0)
            return -1;
        size = read(descriptor, buffer->buf, (size_t)buffer->len);
        if (size >= 0 || errno != EAGAIN)
            return size;
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

/* What the kernel asks about each file that is written, and no mount has: an attribute outside of "user." and "trusted."
 * (`btfuse._attributes`). */
static int asks_for_nothing(const char *name, size_t size)
{
    return size >= TRUSTED && strncmp(name, "user.", USER) != 0 && strncmp(name, "trusted.", TRUSTED) != 0;
}

/* Whether the request was answered: a READ that the table has, a RELEASE where there is a table, for then the kernel opens
 * files by itself, or a GETXATTR of what is not there. */
static int served(int descriptor, const Py_buffer *buffer, ssize_t size, ReadTable *reads)
{
    Head head;
    Range range;
    unsigned char room[READ_LIMIT];
    const char *body = (const char *)buffer->buf + sizeof head;
    size_t length = (size_t)size - sizeof head;
    memcpy(&head, buffer->buf, sizeof head);
    if (head.opcode == GETXATTR && length > GETXATTR_HEADER) {
        if (!asks_for_nothing(body + GETXATTR_HEADER, length - GETXATTR_HEADER))
            return 0;
        refuse(descriptor, head.unique, ENODATA);
        return 1;
    }
    if (reads == NULL)
        return 0;
    if (head.opcode == RELEASE) {
        answer(descriptor, head.unique, NULL, 0);
        return 1;
    }
    if (head.opcode != READ || length < sizeof range)
        return 0;
    memcpy(&range, body, sizeof range);
    const unsigned char *found = reads_serve(reads, head.node, range.offset, range.size, room);
    if (found == NULL)
        return 0;
    answer(descriptor, head.unique, found, range.size);
    return 1;
}

/* What a turn is about, besides its answer. */
typedef struct {
    int descriptor;
    Py_buffer buffer, score;
    int64_t patience;
    uint64_t full, step;
    ReadTable *reads;
} Turn;

/* The size of the first request that is Python's to answer, 0 where there will be none, or -1 with errno. */
static ssize_t receive(Turn *turn)
{
    uint64_t *score = turn->score.buf;
    for (int count = 0;; count++) {
        int waited = 0;
        ssize_t size = next(turn->descriptor, &turn->buffer, turn->patience, &score[IN_VAIN], &waited);
        if (size < 0)
            return size;
        keep_score(score, waited, turn->full, turn->step);
        if ((size_t)size < sizeof(Head) || count == IN_A_ROW ||
            (score[SCORE] == turn->full && !score[SPINS]) || /* the spinning thread shall be started */
            !served(turn->descriptor, &turn->buffer, size, turn->reads))
            return size;
    }
}

static PyObject *take_turn(Turn *turn, uint64_t unique, const Py_buffer *body)
{
    ssize_t size;
    Py_BEGIN_ALLOW_THREADS
    if (body != NULL)
        answer(turn->descriptor, unique, body->buf, (size_t)body->len);
    size = receive(turn);
    Py_END_ALLOW_THREADS
    if (size < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
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
    Turn turn;
    Py_buffer body;
    unsigned long long unique, full, step;
    long long patience;
    PyObject *given, *reads, *head = NULL;
    if (!PyArg_ParseTuple(args, "iw*KOLw*KKO", &turn.descriptor, &turn.buffer, &unique, &given, &patience, &turn.score,
                          &full, &step, &reads))
        return NULL;
    turn.patience = patience, turn.full = full, turn.step = step;
    int answers = given != Py_None;
    if ((size_t)turn.buffer.len < sizeof(Head) || turn.score.len != WORDS * (Py_ssize_t)sizeof(uint64_t) ||
        (uintptr_t)turn.score.buf % sizeof(uint64_t) != 0) {
        PyErr_SetString(PyExc_ValueError, "a buffer has room for a header, and a score five aligned words");
    } else if (reads_table(self, reads, &turn.reads) == 0 &&
               (!answers || PyObject_GetBuffer(given, &body, PyBUF_SIMPLE) == 0)) {
        if (answers && body.len > INT32_MAX)
            PyErr_SetString(PyExc_ValueError, "an answer is too large");
        else
            head = take_turn(&turn, unique, answers ? &body : NULL);
        if (answers)
            PyBuffer_Release(&body);
    }
    PyBuffer_Release(&turn.score);
    PyBuffer_Release(&turn.buffer);
    return head;
}

PyDoc_STRVAR(exchange_doc,
             "exchange(descriptor, buffer, unique, body, patience, score, full, step, reads) -> tuple | None\n\n"
             "Answer request `unique` with `body` unless that is None, and read the next one: the fields of its header, or\n"
             "None where there will be none. Looks for `patience` nanoseconds before it sleeps. Answers by itself what the\n"
             "table `reads`, unless that is None, can serve. Raises OSError.");

static PyMethodDef methods[] = {
    {"exchange", exchange, METH_VARARGS, exchange_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, reads_add_type}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_requests", "A turn of a FUSE session. See btspeed.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__requests(void)
{
    return PyModuleDef_Init(&definition);
}
