/* Small calls, messages and answers of a link, many in one loop.
 *
 *     take_plain_frames(places, buffer, start, end, window, now) -> (start, events, calls, sends, window)
 *
 * The twin of `bttp._plain.take_plain_reference`, which says what a plain frame is. It takes frames until the first that
 * is not plain, or not whole, and leaves that one to Python: nothing here says what is wrong with a frame. Every length is
 * compared with what is there before a byte of the frame is used; nothing is allocated by a length that is not there.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>

enum { CALL = 17, SEND = 18, REPLY = 19 };
enum { HEAD = 8, REPLY_FIXED = 4, CALL_FIXED = 12, SEND_FIXED = 8 };

typedef struct {
    /* borrowed from `places` */
    PyObject *calling, *dues, *serving, *routes;
    PyObject *call_type, *send_type, *reply_type;
    Py_ssize_t max_calls;
    uint32_t parity, chunk, send_cost;
    /* what is being done */
    PyObject *events;
    double now;
    int64_t window;
    Py_ssize_t calls, sends;
} Link;

typedef struct {
    const unsigned char *at; /* the head */
    uint32_t size, stream;
} Frame;

enum { FAILED = -1, NOT_PLAIN = 0, TAKEN = 1 };

static uint32_t u32(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* A body of its own: the buffer is filled anew while its user still has it. */
static PyObject *body_at(const unsigned char *at, uint32_t size)
{
    PyObject *bytes = PyByteArray_FromStringAndSize((const char *)at, size);
    if (bytes == NULL)
        return NULL;
    PyObject *view = PyMemoryView_FromObject(bytes);
    Py_DECREF(bytes);
    return view;
}

/* Append what `event` is (stolen; NULL: it failed). */
static int put(Link *link, PyObject *event)
{
    if (event == NULL)
        return FAILED;
    int result = PyList_Append(link->events, event);
    Py_DECREF(event);
    return result < 0 ? FAILED : TAKEN;
}

static int forget(PyObject *dict, PyObject *key)
{
    if (PyDict_GetItemWithError(dict, key) == NULL)
        return PyErr_Occurred() ? -1 : 0;
    return PyDict_DelItem(dict, key);
}

static int take_reply(Link *link, const Frame *frame)
{
    uint32_t total = u32(frame->at + HEAD);
    if (total != frame->size - REPLY_FIXED || total > link->chunk)
        return NOT_PLAIN;
    PyObject *stream = PyLong_FromUnsignedLong(frame->stream);
    if (stream == NULL)
        return FAILED;
    int result = FAILED;
    PyObject *token = PyDict_GetItemWithError(link->calling, stream), *body = NULL;
    if (token == NULL) {
        result = PyErr_Occurred() ? FAILED : NOT_PLAIN;
    } else {
        Py_INCREF(token);
        body = body_at(frame->at + HEAD + REPLY_FIXED, total);
        if (body != NULL && forget(link->dues, stream) == 0 && PyDict_DelItem(link->calling, stream) == 0)
            result = put(link, PyObject_CallFunctionObjArgs(link->reply_type, token, body, NULL));
        Py_DECREF(token);
    }
    Py_XDECREF(body);
    Py_DECREF(stream);
    return result;
}

/* The route of this number; borrowed. NULL without an error: there is none. */
static PyObject *route_of(Link *link, uint32_t number)
{
    PyObject *key = PyLong_FromUnsignedLong(number);
    if (key == NULL)
        return NULL;
    PyObject *route = PyDict_GetItemWithError(link->routes, key);
    Py_DECREF(key);
    return route;
}

static PyObject *deadline_of(Link *link, uint32_t timeout)
{
    return timeout ? PyFloat_FromDouble(link->now + timeout / 1000.0) : Py_NewRef(Py_None);
}

static int begin_call(Link *link, PyObject *route, PyObject *stream, const Frame *frame)
{
    int known = PySet_Contains(link->serving, stream);
    if (known)
        return known < 0 ? FAILED : NOT_PLAIN;
    PyObject *deadline = deadline_of(link, u32(frame->at + HEAD + 4)); /* first: a view may run a collection */
    PyObject *body = body_at(frame->at + HEAD + CALL_FIXED, frame->size - CALL_FIXED);
    int result = FAILED;
    if (body != NULL && deadline != NULL && PySet_Add(link->serving, stream) == 0) {
        link->calls++;
        result = put(link, PyObject_CallFunctionObjArgs(link->call_type, stream, route, body, deadline, NULL));
    }
    Py_XDECREF(body);
    Py_XDECREF(deadline);
    return result;
}

static int take_call(Link *link, const Frame *frame)
{
    uint32_t total = u32(frame->at + HEAD + 8);
    if (total != frame->size - CALL_FIXED || total > link->chunk)
        return NOT_PLAIN;
    if (frame->stream == 0 || (frame->stream & 1) == link->parity || PySet_Size(link->serving) >= link->max_calls)
        return NOT_PLAIN;
    PyObject *route = route_of(link, u32(frame->at + HEAD));
    if (route == NULL)
        return PyErr_Occurred() ? FAILED : NOT_PLAIN;
    Py_INCREF(route);
    PyObject *stream = PyLong_FromUnsignedLong(frame->stream);
    int result = stream == NULL ? FAILED : begin_call(link, route, stream, frame);
    Py_XDECREF(stream);
    Py_DECREF(route);
    return result;
}

static int take_send(Link *link, const Frame *frame)
{
    uint32_t total = u32(frame->at + HEAD + 4);
    if (total != frame->size - SEND_FIXED || total > link->chunk || frame->stream != 0 || link->window <= 0)
        return NOT_PLAIN;
    PyObject *route = route_of(link, u32(frame->at + HEAD));
    if (route == NULL)
        return PyErr_Occurred() ? FAILED : NOT_PLAIN;
    Py_INCREF(route);
    PyObject *body = body_at(frame->at + HEAD + SEND_FIXED, total);
    PyObject *cost = PyLong_FromUnsignedLong((unsigned long)total + link->send_cost);
    int result = FAILED;
    if (body != NULL && cost != NULL) {
        link->sends++;
        link->window -= (int64_t)total + link->send_cost;
        result = put(link, PyObject_CallFunctionObjArgs(link->send_type, route, body, cost, NULL));
    }
    Py_XDECREF(body);
    Py_XDECREF(cost);
    Py_DECREF(route);
    return result;
}

static int take(Link *link, uint32_t kind, const Frame *frame)
{
    if (kind == REPLY && frame->size >= REPLY_FIXED)
        return take_reply(link, frame);
    if (kind == CALL && frame->size >= CALL_FIXED)
        return take_call(link, frame);
    if (kind == SEND && frame->size >= SEND_FIXED)
        return take_send(link, frame);
    return NOT_PLAIN;
}

/* Takes what it can from `start` on; where the first frame begins that it leaves, or -1. */
static Py_ssize_t take_all(Link *link, PyObject *buffer, Py_ssize_t start, Py_ssize_t end)
{
    int result = TAKEN;
    while (end - start >= HEAD) {
        /* Looked up each time: making an event may run a collection, and with it anything. */
        if (PyByteArray_Size(buffer) < end) {
            PyErr_SetString(PyExc_BufferError, "the buffer became shorter while frames were taken from it");
            return -1;
        }
        const unsigned char *at = (const unsigned char *)PyByteArray_AsString(buffer) + start;
        uint32_t word = u32(at);
        Frame frame = {at, word >> 8, u32(at + 4)};
        if ((Py_ssize_t)frame.size > end - start - HEAD)
            break;
        result = take(link, word & 0xFF, &frame);
        if (result != TAKEN)
            break;
        start += HEAD + (Py_ssize_t)frame.size;
    }
    return result == FAILED ? -1 : start;
}

static PyObject *take_plain_frames(PyObject *self, PyObject *args)
{
    PyObject *places, *buffer;
    Py_ssize_t start, end;
    long long window;
    double now;
    (void)self;
    if (!PyArg_ParseTuple(args, "O!O!nnLd", &PyTuple_Type, &places, &PyByteArray_Type, &buffer, &start, &end, &window,
                          &now))
        return NULL;
    Link link = {.now = now, .window = window};
    if (!PyArg_ParseTuple(places, "O!O!O!O!InIIOOO", &PyDict_Type, &link.calling, &PyDict_Type, &link.dues, &PySet_Type,
                          &link.serving, &PyDict_Type, &link.routes, &link.parity, &link.max_calls, &link.chunk,
                          &link.send_cost, &link.call_type, &link.send_type, &link.reply_type))
        return NULL;
    if (start < 0 || end < start || end > PyByteArray_Size(buffer)) {
        PyErr_SetString(PyExc_ValueError, "frames are taken from a stretch of the buffer");
        return NULL;
    }
    link.events = PyList_New(0);
    if (link.events == NULL)
        return NULL;
    start = take_all(&link, buffer, start, end);
    if (start < 0) {
        Py_DECREF(link.events);
        return NULL;
    }
    return Py_BuildValue("nNnnL", start, link.events, link.calls, link.sends, (long long)link.window);
}

PyDoc_STRVAR(take_doc, "take_plain_frames(places, buffer, start, end, window, now) -> "
                       "(start, events, calls, sends, window)\n\nSee bttp._plain.");

static PyMethodDef methods[] = {
    {"take_plain_frames", take_plain_frames, METH_VARARGS, take_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_frames", "Plain frames of a link. See btspeed.", 0, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__frames(void)
{
    return PyModuleDef_Init(&definition);
}
