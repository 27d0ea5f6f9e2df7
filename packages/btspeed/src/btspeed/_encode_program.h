/* What an encoder knows of its type: an array of nodes, read from a description and checked in full.
 *
 * A description is a tuple of rows, the first for the whole value. A row is (op, size, flag, literal, things, parts):
 *
 *     op        size     flag        literal    things    parts
 *     int       bytes    signed
 *     float
 *     closed                         numbers    members
 *     fixed     bytes
 *     bytes
 *     text
 *     optional                                            the item
 *     list               of a tuple                       the item
 *     struct             recursive   tag        class     the fields; of `tuple`, the items
 *     union                                               its structs
 *
 * A part is (name, holder, row): None for what has no name, and the class whose `__slots__` hold a field, or None if
 * it is to be read as any attribute. Programs are immutable. They point into their description, and keep it.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

typedef enum { INT, FLOAT, CLOSED, FIXED, BYTES, TEXT, OPTIONAL, LIST, STRUCT, UNION, OPS } Op;

static const char *const op_names[OPS] = {"int",  "float",    "closed", "fixed",  "bytes",
                                          "text", "optional", "list",   "struct", "union"};

typedef struct Node Node;

typedef struct {
    PyObject *name;
    Py_ssize_t offset; /* 0: not in a slot */
    const Node *node;
} Part;

struct Node {
    Op op;
    int flag;
    Py_ssize_t size;
    int64_t least, most; /* of an int; only U64 has numbers over `most` */
    const char *literal;
    Py_ssize_t literal_size;
    PyObject *things;
    PyObject *cls;
    Part *parts;
    Py_ssize_t count;
};

typedef struct {
    PyObject_HEAD
    PyObject *rows;
    PyObject *reference;
    Node *nodes;
    Part *parts;
    size_t max_size;
    Py_ssize_t max_depth, max_count;
} Program;

/* Where objects of `cls` hold a field that `holder` declared in `__slots__`; 0 if that is not so. */
static Py_ssize_t slot_offset(PyObject *cls, PyObject *holder, const char *name)
{
    if (!PyType_Check(holder) || !PyType_IsSubtype((PyTypeObject *)cls, (PyTypeObject *)holder))
        return 0;
    const PyMemberDef *member = PyType_GetSlot((PyTypeObject *)holder, Py_tp_members);
    for (; member != NULL && member->name != NULL; member++)
        if (member->type == T_OBJECT_EX && strcmp(member->name, name) == 0)
            return member->offset > 0 ? member->offset : 0;
    return 0;
}

static int malformed(const char *what)
{
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "a row of the description %s", what);
    return 0;
}

static int read_part(Program *program, const Node *node, PyObject *row, Part *part)
{
    PyObject *name, *holder;
    Py_ssize_t index, size;
    if (!PyTuple_Check(row) || !PyArg_ParseTuple(row, "OOn", &name, &holder, &index))
        return malformed("has a part that is none");
    if (index < 0 || index >= PyTuple_Size(program->rows))
        return malformed("names a row that is not there");
    part->node = &program->nodes[index];
    if (node->op != STRUCT || node->cls == (PyObject *)&PyTuple_Type)
        return name == Py_None || malformed("names what has no name");
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8AndSize(name, &size) : NULL;
    if (text == NULL || strlen(text) != (size_t)size)
        return malformed("has a field without a name");
    part->name = name;
    part->offset = holder == Py_None ? 0 : slot_offset(node->cls, holder, text);
    return 1;
}

static int read_parts(Program *program, Node *node, PyObject *parts, Part **free_part)
{
    node->parts = *free_part;
    node->count = PyTuple_Size(parts);
    *free_part += node->count;
    for (Py_ssize_t at = 0; at < node->count; at++)
        if (!read_part(program, node, PyTuple_GetItem(parts, at), &node->parts[at]))
            return 0;
    return 1;
}

static int read_op(Node *node, const char *name)
{
    for (int op = 0; op < OPS; op++)
        if (strcmp(op_names[op], name) == 0) {
            node->op = op;
            return 1;
        }
    return malformed("has an operation that is none");
}

static void set_bounds(Node *node)
{
    int bits = (int)node->size * 8;
    node->least = node->flag ? -(INT64_MAX >> (64 - bits)) - 1 : 0;
    node->most = bits == 64 ? INT64_MAX : INT64_MAX >> (63 - bits + node->flag);
}

static int check_node(Node *node)
{
    switch (node->op) {
    case INT:
        if (node->size != 1 && node->size != 2 && node->size != 4 && node->size != 8)
            return malformed("has an int of a width that is none");
        set_bounds(node);
        return 1;
    case CLOSED:
        return PyTuple_Size(node->things) == node->literal_size || malformed("has members without numbers");
    case FIXED:
        return node->size >= 0 || malformed("has a negative size");
    case STRUCT:
        if (PyTuple_Size(node->things) != 1 || !PyType_Check(PyTuple_GetItem(node->things, 0)))
            return malformed("has a struct without a class");
        node->cls = PyTuple_GetItem(node->things, 0);
        return 1;
    default:
        return 1;
    }
}

/* Whether the parts are as many as the operation wants; those of a union are structs with a class of their own. */
static int check_parts(const Node *node)
{
    if (node->op < OPTIONAL)
        return node->count == 0 || malformed("has parts and is not made of any");
    if (node->op < STRUCT)
        return node->count == 1 || malformed("must have one part");
    for (Py_ssize_t at = 0; node->op == UNION && at < node->count; at++)
        if (node->parts[at].node->op != STRUCT)
            return malformed("has a union of others than structs");
    return 1;
}

static int read_row(Program *program, Node *node, PyObject *row, Part **free_part)
{
    const char *op;
    PyObject *parts;
    if (!PyArg_ParseTuple(row, "snpy#O!O!", &op, &node->size, &node->flag, &node->literal, &node->literal_size,
                          &PyTuple_Type, &node->things, &PyTuple_Type, &parts))
        return 0;
    return read_op(node, op) && check_node(node) && read_parts(program, node, parts, free_part);
}

/* How many parts all rows have, or -1 with an exception set. */
static Py_ssize_t count_parts(PyObject *rows)
{
    Py_ssize_t count = 0;
    for (Py_ssize_t at = 0; at < PyTuple_Size(rows); at++) {
        PyObject *row = PyTuple_GetItem(rows, at);
        if (!PyTuple_Check(row) || PyTuple_Size(row) != 6 || !PyTuple_Check(PyTuple_GetItem(row, 5))) {
            malformed("has not its six columns");
            return -1;
        }
        count += PyTuple_Size(PyTuple_GetItem(row, 5));
    }
    return count;
}

/* Fill a program whose `rows` are set. False with an exception set. */
static int read_rows(Program *program)
{
    Py_ssize_t rows = PyTuple_Size(program->rows), parts = count_parts(program->rows);
    if (parts < 0 || rows == 0)
        return malformed("is missing");
    program->nodes = PyMem_Calloc((size_t)rows, sizeof(Node));
    program->parts = PyMem_Calloc((size_t)parts + 1, sizeof(Part));
    if (program->nodes == NULL || program->parts == NULL) {
        PyErr_NoMemory();
        return 0;
    }
    Part *free_part = program->parts;
    for (Py_ssize_t at = 0; at < rows; at++)
        if (!read_row(program, &program->nodes[at], PyTuple_GetItem(program->rows, at), &free_part))
            return 0;
    for (Py_ssize_t at = 0; at < rows; at++)
        if (!check_parts(&program->nodes[at]))
            return 0;
    return 1;
}
