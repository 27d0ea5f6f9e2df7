/* Encoding typed values, by a small program for each type.
 *
 * The twin of the encoders of `btserde`, which are the reference: same values, same bytes (docs/spec/serde.md).
 * `btserde` describes a type (`_encode_program.h`); the encoder made of it appends to a buffer (`_encode_out.h`).
 *
 * Rules: only the plain case is done here, with values of exactly the classes that the type names. Whatever is unusual
 * or wrong makes the encoder give up without an error, and the reference is called with the same value: so it alone
 * decides what has an encoding, and says what is wrong. Only what is no `Exception` (an interrupt) is passed on.
 *
 * Python code runs in between where an attribute is not in a slot. Therefore what is in use is always owned, and the
 * items of a list are copied from it before they are looked at. A slot is read where its class put it when the encoder
 * was made, as msgspec does; who gives that class another attribute of the name later is not heard.
 *
 * The interpreter lock is held throughout. Only the limited API of Python 3.11 is used.
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "_encode_out.h"
#include "_encode_program.h"

/* Calls open inside one another: far more than messages nest, far less than the stack of a thread holds. */
#define MAX_FRAMES 200

typedef struct {
    const Program *program;
    Py_ssize_t depth; /* recursive structs that are open, as `Limits` counts them */
    int frames;
    Out out;
} Run;

static int put(Run *run, const Node *node, PyObject *value);
static int put_column(Run *run, const Node *node, PyObject *const *items, Py_ssize_t count);

/* -- values without parts */

static int put_int(Out *out, const Node *node, PyObject *value)
{
    int overflow;
    if (!PyLong_CheckExact(value) && !PyLong_Check(value))
        return 0;
    int64_t number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow)
        return number >= node->least && number <= node->most &&
               put_number(out, (uint64_t)number, (size_t)node->size);
    if (node->size != 8 || node->flag)
        return 0;
    uint64_t large = PyLong_AsUnsignedLongLong(value);
    return !(large == (uint64_t)-1 && PyErr_Occurred()) && put_number(out, large, 8);
}

static int put_float(Out *out, PyObject *value)
{
    if (!PyFloat_CheckExact(value))
        return 0;
    double number = PyFloat_AsDouble(value) + 0.0; /* makes zero of negative zero */
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return number == number && put_number(out, bits, 8);
}

/* The members of a closed set exist once, and are few. */
static int put_closed(Out *out, const Node *node, PyObject *value)
{
    for (Py_ssize_t at = 0; at < node->literal_size; at++)
        if (PyTuple_GetItem(node->things, at) == value)
            return put_byte(out, (unsigned char)node->literal[at]);
    return 0;
}

static int put_text(Out *out, PyObject *value)
{
    Py_ssize_t size;
    const char *text = PyUnicode_CheckExact(value) ? PyUnicode_AsUTF8AndSize(value, &size) : NULL;
    return text != NULL && put_length(out, size) && put_raw(out, text, (size_t)size);
}

static int put_bytes(Out *out, PyObject *value)
{
    Py_ssize_t size = content_size(value);
    return size >= 0 && put_length(out, size) && put_content(out, value, size);
}

/* -- structs */

/* A new reference to a field of an object of exactly the node's class; NULL if it has none. */
static inline PyObject *get_part(const Node *node, Py_ssize_t at, PyObject *value)
{
    const Part *part = &node->parts[at];
    PyObject *item;
    if (part->offset > 0)
        item = *(PyObject **)((char *)value + part->offset);
    else if (part->name != NULL)
        return PyObject_GetAttr(value, part->name);
    else
        item = PyTuple_GetItem(value, at);
    Py_XINCREF(item);
    return item;
}

static inline int is_struct(const Node *node, PyObject *value)
{
    return (PyObject *)Py_TYPE(value) == node->cls &&
           (node->cls != (PyObject *)&PyTuple_Type || PyTuple_Size(value) == node->count);
}

static int enter(Run *run, const Node *node)
{
    run->depth += node->flag;
    return run->depth <= run->program->max_depth;
}

static int put_struct(Run *run, const Node *node, PyObject *value)
{
    if (!is_struct(node, value) || !enter(run, node) ||
        !put_raw(&run->out, node->literal, (size_t)node->literal_size))
        return 0;
    for (Py_ssize_t at = 0; at < node->count; at++) {
        PyObject *item = get_part(node, at, value);
        int done = item != NULL && put(run, node->parts[at].node, item);
        Py_XDECREF(item);
        if (!done)
            return 0;
    }
    run->depth -= node->flag;
    return 1;
}

static int put_member(Run *run, const Node *node, PyObject *value)
{
    for (Py_ssize_t at = 0; at < node->count; at++)
        if ((PyObject *)Py_TYPE(value) == node->parts[at].node->cls)
            return put_struct(run, node->parts[at].node, value);
    return 0;
}

/* -- lists, which are written column by column */

static PyObject **new_column(Py_ssize_t count)
{
    if (count > PY_SSIZE_T_MAX / (Py_ssize_t)sizeof(PyObject *))
        return NULL;
    return PyMem_Malloc((size_t)count * sizeof(PyObject *));
}

static void release_items(PyObject *const *items, Py_ssize_t count)
{
    for (Py_ssize_t at = 0; at < count; at++)
        Py_DECREF(items[at]);
}

static int put_texts(Out *out, PyObject *const *items, Py_ssize_t count)
{
    Py_ssize_t size;
    for (Py_ssize_t at = 0; at < count; at++)
        if (!PyUnicode_CheckExact(items[at]) || PyUnicode_AsUTF8AndSize(items[at], &size) == NULL ||
            !put_length(out, size))
            return 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        const char *text = PyUnicode_AsUTF8AndSize(items[at], &size);
        if (text == NULL || !put_raw(out, text, (size_t)size))
            return 0;
    }
    return 1;
}

/* No Python runs here, so each content is still as long as its length says. */
static int put_blobs(Out *out, PyObject *const *items, Py_ssize_t count)
{
    for (Py_ssize_t at = 0; at < count; at++) {
        Py_ssize_t size = content_size(items[at]);
        if (size < 0 || !put_length(out, size))
            return 0;
    }
    for (Py_ssize_t at = 0; at < count; at++)
        if (!put_content(out, items[at], content_size(items[at])))
            return 0;
    return 1;
}

/* The columns of the fields of many structs. `column` has room for one of them. */
static int put_fields(Run *run, const Node *node, PyObject *const *items, Py_ssize_t count, PyObject **column)
{
    for (Py_ssize_t field = 0; field < node->count; field++) {
        Py_ssize_t have = 0;
        while (have < count && (column[have] = get_part(node, field, items[have])) != NULL)
            have++;
        int done = have == count && put_column(run, node->parts[field].node, column, count);
        release_items(column, have);
        if (!done)
            return 0;
    }
    return 1;
}

static int put_structs(Run *run, const Node *node, PyObject *const *items, Py_ssize_t count)
{
    for (Py_ssize_t at = 0; at < count; at++)
        if (!is_struct(node, items[at]))
            return 0;
    if (!enter(run, node))
        return 0;
    PyObject **column = new_column(count);
    int done = column != NULL && put_fields(run, node, items, count, column);
    PyMem_Free(column);
    run->depth -= node->flag;
    return done;
}

static int put_rows(Run *run, const Node *node, PyObject *const *items, Py_ssize_t count)
{
    for (Py_ssize_t at = 0; at < count; at++)
        if (!put(run, node, items[at]))
            return 0;
    return 1;
}

static int put_column(Run *run, const Node *node, PyObject *const *items, Py_ssize_t count)
{
    if (count == 0)
        return 1;
    if (node->op == TEXT)
        return put_texts(&run->out, items, count);
    if (node->op == BYTES)
        return put_blobs(&run->out, items, count);
    if (node->op != STRUCT || node->literal_size > 0)
        return put_rows(run, node, items, count);
    if (run->frames >= MAX_FRAMES)
        return 0;
    run->frames++;
    int done = put_structs(run, node, items, count);
    run->frames--;
    return done;
}

static int put_list(Run *run, const Node *node, PyObject *value)
{
    if (node->flag ? !PyTuple_CheckExact(value) : !PyList_CheckExact(value))
        return 0;
    Py_ssize_t count = node->flag ? PyTuple_Size(value) : PyList_Size(value);
    if (count > run->program->max_count || !put_length(&run->out, count))
        return 0;
    if (count == 0)
        return 1;
    PyObject **items = new_column(count);
    if (items == NULL)
        return 0;
    for (Py_ssize_t at = 0; at < count; at++) {
        items[at] = node->flag ? PyTuple_GetItem(value, at) : PyList_GetItem(value, at);
        Py_INCREF(items[at]);
    }
    int done = put_column(run, node->parts[0].node, items, count);
    release_items(items, count);
    PyMem_Free(items);
    return done;
}

/* -- any value */

static int put_composed(Run *run, const Node *node, PyObject *value)
{
    switch (node->op) {
    case OPTIONAL:
        if (value == Py_None)
            return put_byte(&run->out, 0);
        return put_byte(&run->out, 1) && put(run, node->parts[0].node, value);
    case LIST:
        return put_list(run, node, value);
    case STRUCT:
        return put_struct(run, node, value);
    default:
        return put_member(run, node, value);
    }
}

/* Append the encoding of a value. False: give up. */
static int put(Run *run, const Node *node, PyObject *value)
{
    switch (node->op) {
    case INT:
        return put_int(&run->out, node, value);
    case FLOAT:
        return put_float(&run->out, value);
    case CLOSED:
        return put_closed(&run->out, node, value);
    case FIXED:
        return content_size(value) == node->size && put_content(&run->out, value, node->size);
    case BYTES:
        return put_bytes(&run->out, value);
    case TEXT:
        return put_text(&run->out, value);
    default:
        if (run->frames >= MAX_FRAMES)
            return 0;
        run->frames++;
        int done = put_composed(run, node, value);
        run->frames--;
        return done;
    }
}

/* -- programs as Python objects */

static PyObject *encode(PyObject *self, PyObject *value)
{
    Program *program = (Program *)self;
    Run run;
    run.program = program;
    run.depth = 0;
    run.frames = 0;
    out_init(&run.out, program->max_size);
    PyObject *result = put(&run, program->nodes, value) ? finish(&run.out) : NULL;
    out_clear(&run.out);
    if (result != NULL)
        return result;
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear();
    }
    return PyObject_CallFunctionObjArgs(program->reference, value, NULL);
}

static int traverse(PyObject *self, visitproc visit, void *arg)
{
    Program *program = (Program *)self;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(program->rows);
    Py_VISIT(program->reference);
    return 0;
}

/* There is no tp_clear: a program never changes, so whoever made a cycle with one has something that can be cleared. */
static void dealloc(PyObject *self)
{
    Program *program = (Program *)self;
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    PyMem_Free(program->nodes);
    PyMem_Free(program->parts);
    Py_XDECREF(program->rows);
    Py_XDECREF(program->reference);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMethodDef program_methods[] = {
    {"encode", encode, METH_O, "encode(value) -> bytes\n\nThe encoding of a value, by the reference if need be."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot program_slots[] = {
    {Py_tp_dealloc, dealloc},
    {Py_tp_traverse, traverse},
    {Py_tp_methods, program_methods},
    {0, NULL},
};

static PyType_Spec program_spec = {
    "btspeed._encode.Program", sizeof(Program), 0,
    Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_IMMUTABLETYPE,
    program_slots,
};

PyDoc_STRVAR(make_doc,
             "make_encoder(rows, max_depth, max_size, max_count, reference) -> Callable\n\n"
             "An encoder of the type that `rows` describe. It calls `reference` with any value that is not plain.");

static PyObject *make_encoder(PyObject *module, PyObject *args)
{
    PyObject *rows, *reference;
    Py_ssize_t max_depth, max_size, max_count;
    if (!PyArg_ParseTuple(args, "O!nnnO", &PyTuple_Type, &rows, &max_depth, &max_size, &max_count, &reference))
        return NULL;
    if (max_size < 0)
        return PyErr_Format(PyExc_ValueError, "a limit is negative");
    PyTypeObject **type = PyModule_GetState(module);
    Program *program = (Program *)PyType_GenericAlloc(*type, 0);
    if (program == NULL)
        return NULL;
    PyObject_GC_UnTrack(program); /* nobody finds it before it is whole */
    program->rows = rows;
    Py_INCREF(rows);
    program->reference = reference;
    Py_INCREF(reference);
    program->max_depth = max_depth;
    program->max_size = (size_t)max_size;
    program->max_count = max_count;
    PyObject *result = NULL;
    if (read_rows(program)) {
        PyObject_GC_Track(program);
        result = PyObject_GetAttrString((PyObject *)program, "encode");
    }
    Py_DECREF(program);
    return result;
}

/* -- the module; its state is the type of programs */

static int execute(PyObject *module)
{
    PyObject **type = PyModule_GetState(module);
    *type = PyType_FromModuleAndSpec(module, &program_spec, NULL);
    return *type == NULL ? -1 : 0;
}

static int traverse_module(PyObject *module, visitproc visit, void *arg)
{
    PyObject **type = PyModule_GetState(module);
    Py_VISIT(*type);
    return 0;
}

static int clear_module(PyObject *module)
{
    PyObject **type = PyModule_GetState(module);
    Py_CLEAR(*type);
    return 0;
}

static PyMethodDef methods[] = {
    {"make_encoder", make_encoder, METH_VARARGS, make_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{Py_mod_exec, execute}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_encode", "Encoders of typed values. See btspeed.", sizeof(PyObject *), methods, slots,
    traverse_module,       clear_module, NULL,
};

PyMODINIT_FUNC PyInit__encode(void)
{
    return PyModuleDef_Init(&definition);
}
