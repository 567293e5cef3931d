/* Programs: what Python has compiled a plan to, as tuples, taken over into nodes once.
 *
 * A program is a tuple of nodes, the first of which is the root; a node is a tuple of its operation and what that
 * needs, and names other nodes by their index, so that a program may go round in circles.
 */
#include "codec.h"

typedef struct {
    Program *program;
    PyObject *spec;  /* the node's tuple */
    Node *node;
} Parsing;

static int
bad(const char *what)
{
    if (!PyErr_Occurred()) {
        PyErr_Format(PyExc_ValueError, "a program has a bad %s", what);
    }
    return -1;
}

static PyObject *
item(const Parsing *parsing, Py_ssize_t i)
{
    return i < PyTuple_GET_SIZE(parsing->spec) ? PyTuple_GET_ITEM(parsing->spec, i) : NULL;
}

static int
number(const Parsing *parsing, Py_ssize_t i, int64_t *out)
{
    PyObject *value = item(parsing, i);
    if (value == NULL || !PyLong_Check(value)) {
        return bad("number");
    }
    *out = PyLong_AsLongLong(value);
    return *out == -1 && PyErr_Occurred() ? -1 : 0;
}

static int
kid(const Parsing *parsing, PyObject *index, Node **out)
{
    Py_ssize_t i = index && PyLong_Check(index) ? PyLong_AsSsize_t(index) : -1;
    if (i < 0 || i >= parsing->program->count) {
        return bad("node index");
    }
    *out = &parsing->program->nodes[i];
    return 0;
}

static int
one_kid(const Parsing *parsing, Py_ssize_t i)
{
    Node *node = parsing->node;
    node->kids = PyMem_Calloc(1, sizeof(Node *));
    if (node->kids == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->n = 1;
    return kid(parsing, item(parsing, i), &node->kids[0]);
}

/* A tuple of kids, or of pairs (kid, slot). */
static int
many_kids(const Parsing *parsing, Py_ssize_t i, int with_slots)
{
    Node *node = parsing->node;
    PyObject *tuple = item(parsing, i);
    if (tuple == NULL || !PyTuple_Check(tuple)) {
        return bad("list of nodes");
    }
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    node->kids = PyMem_Calloc((size_t)n + 1, sizeof(Node *));
    node->slots = PyMem_Calloc((size_t)n + 1, sizeof(int));
    if (node->kids == NULL || node->slots == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->n = (int)n;
    for (Py_ssize_t k = 0; k < n; k++) {
        PyObject *entry = PyTuple_GET_ITEM(tuple, k), *index = entry;
        if (with_slots) {
            if (!PyTuple_Check(entry) || PyTuple_GET_SIZE(entry) != 2) {
                return bad("step");
            }
            index = PyTuple_GET_ITEM(entry, 0);
            node->slots[k] = (int)PyLong_AsLong(PyTuple_GET_ITEM(entry, 1));
            if (PyErr_Occurred() || node->slots[k] < -1 || node->slots[k] >= node->size) {
                return bad("slot");
            }
        }
        if (kid(parsing, index, &node->kids[k]) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
objects(const Parsing *parsing, Py_ssize_t i, int interned)
{
    Node *node = parsing->node;
    PyObject *tuple = item(parsing, i);
    if (tuple == NULL || !PyTuple_Check(tuple)) {
        return bad("list of objects");
    }
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    node->objects = PyMem_Calloc((size_t)n + 1, sizeof(PyObject *));
    if (node->objects == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->n_objects = (int)n;
    for (Py_ssize_t k = 0; k < n; k++) {
        node->objects[k] = Py_NewRef(PyTuple_GET_ITEM(tuple, k));
        if (interned) {
            if (!PyUnicode_CheckExact(node->objects[k])) {
                return bad("name");
            }
            PyUnicode_InternInPlace(&node->objects[k]);
        }
    }
    return 0;
}

static int
object(const Parsing *parsing, Py_ssize_t i)
{
    PyObject *value = item(parsing, i);
    if (value == NULL) {
        return bad("object");
    }
    parsing->node->object = Py_NewRef(value);
    return 0;
}

/* The slot of an instance that holds an attribute, if it has one and nothing else stands between. Gives the descriptor,
 * a new reference, or NULL; an offset of 0 means there is no slot. Never fails: an exception is cleared. */
PyObject *
slot_offset(PyObject *cls, PyObject *name, Py_ssize_t *offset)
{
    *offset = 0;
    PyObject *found = PyType_Check(cls) ? PyObject_GetAttr(cls, name) : NULL;
    if (found == NULL) {
        PyErr_Clear();
        return NULL;
    }
    if (Py_IS_TYPE(found, &PyMemberDescr_Type)) {
        PyMemberDescrObject *descriptor = (PyMemberDescrObject *)found;
        PyMemberDef *member = descriptor->d_member;
        if (member->type == OBJECT_SLOT && member->flags == 0 &&
            PyType_IsSubtype((PyTypeObject *)cls, descriptor->d_common.d_type)) {
            *offset = member->offset;
        }
    }
    return found;
}

/* (name, slot, default or None, has default, factory or None) of every attribute of a class. */
static int
targets(const Parsing *parsing, Py_ssize_t i)
{
    Node *node = parsing->node;
    PyObject *tuple = item(parsing, i);
    if (tuple == NULL || !PyTuple_Check(tuple)) {
        return bad("list of attributes");
    }
    Py_ssize_t n = PyTuple_GET_SIZE(tuple);
    node->targets = PyMem_Calloc((size_t)n + 1, sizeof(Target));
    if (node->targets == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    node->n_targets = (int)n;
    for (Py_ssize_t k = 0; k < n; k++) {
        Target *target = &node->targets[k];
        PyObject *name, *value, *factory;
        int has_default;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(tuple, k), "UiOpO", &name, &target->slot, &value, &has_default,
                              &factory)) {
            return -1;
        }
        if (target->slot >= node->size || (target->slot < 0 && !has_default && factory == Py_None)) {
            return bad("attribute");
        }
        target->name = Py_NewRef(name);
        PyUnicode_InternInPlace(&target->name);
        target->value = has_default ? Py_NewRef(value) : NULL;
        target->factory = factory == Py_None ? NULL : Py_NewRef(factory);
        if (node->object && PyType_Check(node->object)) {
            Py_XDECREF(slot_offset(node->object, target->name, &target->offset));
        }
    }
    return 0;
}

/* (op, contains itself, make, build, number of values, ((kid, slot), ...), ...) and then
 *   dicts: names; by call: how many by position, names of the others; directly: attributes, whether __post_init__. */
static int
record(const Parsing *parsing)
{
    Node *node = parsing->node;
    int64_t itself, make, extra = 0;
    if (number(parsing, 1, &itself) < 0 || number(parsing, 2, &make) < 0 || object(parsing, 3) < 0 ||
        number(parsing, 4, &node->size) < 0 || many_kids(parsing, 5, 1) < 0) {
        return -1;
    }
    node->flag = (uint8_t)itself;
    node->make = (uint8_t)make;
    switch (make) {
        case MAKE_DICT:
        case MAKE_FROM_DICT:
            return objects(parsing, 6, 1) < 0 || node->n_objects != node->size ? bad("list of names") : 0;
        case MAKE_BY_CALL:
            if (number(parsing, 6, &extra) < 0 || objects(parsing, 7, 1) < 0) {
                return -1;
            }
            if (extra < 0 || extra + node->n_objects != node->size) {
                return bad("call");
            }
            node->scale = (int)extra;
            if (node->n_objects > 0) {
                node->names = PyTuple_New(node->n_objects);
                for (int i = 0; node->names && i < node->n_objects; i++) {
                    PyTuple_SET_ITEM(node->names, i, Py_NewRef(node->objects[i]));
                }
                return node->names ? 0 : -1;
            }
            return 0;
        case MAKE_DIRECTLY:
            if (targets(parsing, 6) < 0 || number(parsing, 7, &extra) < 0 || !PyType_Check(node->object)) {
                return bad("class");
            }
            node->scale = (int)extra;
            return 0;
    }
    return bad("way to make a record");
}

static int
parse_node(const Parsing *parsing)
{
    Node *node = parsing->node;
    int64_t a = 0, b = 0;
    switch (node->op) {
        case OP_ARRAY: /* item, container or empty, whether its items take no byte */
            if (number(parsing, 2, &a) < 0 || number(parsing, 3, &b) < 0) {
                return -1;
            }
            node->make = (uint8_t)a;
            node->flag = (uint8_t)b;
            return one_kid(parsing, 1);
        case OP_SKIP_ARRAY:
            if (number(parsing, 2, &b) < 0) {
                return -1;
            }
            node->flag = (uint8_t)b;
            return one_kid(parsing, 1);
        case OP_MAP:
        case OP_SKIP_MAP:
            return one_kid(parsing, 1);
        case OP_SKIP_UNION:
            return many_kids(parsing, 1, 0);
        case OP_UNION: /* kids; to write: classes, their branches, and a function for the rest */
            if (many_kids(parsing, 1, 0) < 0) {
                return -1;
            }
            if (item(parsing, 2) == NULL) {
                return 0;
            }
            PyObject *branches = item(parsing, 3);
            if (objects(parsing, 2, 0) < 0 || object(parsing, 4) < 0 || !branches || !PyTuple_Check(branches) ||
                PyTuple_GET_SIZE(branches) != node->n_objects) {
                return bad("union");
            }
            PyMem_Free(node->slots);
            node->slots = PyMem_Calloc((size_t)node->n_objects + 1, sizeof(int));
            if (node->slots == NULL) {
                PyErr_NoMemory();
                return -1;
            }
            for (int i = 0; i < node->n_objects; i++) {
                node->slots[i] = (int)PyLong_AsLong(PyTuple_GET_ITEM(branches, i));
                if (PyErr_Occurred() || node->slots[i] < 0 || node->slots[i] >= node->n) {
                    return bad("branch");
                }
            }
            return 0;
        case OP_OPTIONAL: /* the branch of null, the other's kid */
            return number(parsing, 1, &node->size) < 0 ? -1 : one_kid(parsing, 2);
        case OP_RECORD:
            return record(parsing);
        case OP_SKIP_RECORD:
            if (number(parsing, 1, &a) < 0) {
                return -1;
            }
            node->flag = (uint8_t)a;
            return many_kids(parsing, 2, 0);
        case OP_ENUM: /* values */
            return objects(parsing, 1, 0);
        case OP_SYMBOL: /* dict from text to index */
            return object(parsing, 1) < 0 || !PyDict_CheckExact(node->object) ? bad("table") : 0;
        case OP_ALLOWED: /* dict of the values, kid */
            return object(parsing, 1) < 0 || !PyDict_CheckExact(node->object) ? bad("table") : one_kid(parsing, 2);
        case OP_FIXED:
        case OP_SKIP_BYTES:
            return number(parsing, 1, &node->size) < 0 || node->size < 0 ? bad("size") : 0;
        case OP_TIMESTAMP: /* unit, whether without a zone */
        case OP_TIME:
            if (number(parsing, 1, &a) < 0 || number(parsing, 2, &b) < 0) {
                return -1;
            }
            node->make = (uint8_t)a;
            node->flag = (uint8_t)b;
            return 0;
        case OP_DECIMAL: /* size or -1, scale, precision (to read: bytes at most), function for the rest */
            if (number(parsing, 1, &node->size) < 0 || number(parsing, 2, &a) < 0 || number(parsing, 3, &b) < 0) {
                return -1;
            }
            node->scale = (int)a;
            node->precision = (int)b;
            return object(parsing, 4);
        case OP_CONVERT: /* kid, function */
            return object(parsing, 2) < 0 ? -1 : one_kid(parsing, 1);
        case OP_COLUMN: /* kid, column, kind, branch of null or -1 */
            if (number(parsing, 2, &a) < 0 || number(parsing, 3, &b) < 0 || number(parsing, 4, &node->size) < 0) {
                return -1;
            }
            node->scale = (int)a;
            node->make = (uint8_t)b;
            return one_kid(parsing, 1);
        case OP_NULL:
        case OP_BOOLEAN:
        case OP_LONG:
        case OP_DOUBLE:
        case OP_FLOAT:
        case OP_STRING:
        case OP_BYTES:
        case OP_DATE:
        case OP_TIMEDELTA:
        case OP_UUID:
        case OP_UUID_FIXED:
        case OP_LONG_AS_DOUBLE:
        case OP_REFUSE:
        case OP_SKIP_LONG:
        case OP_SKIP_STRING:
            return 0;
    }
    return bad("operation");
}

int
program_parse(Program *program, PyObject *spec)
{
    if (!PyTuple_Check(spec) || PyTuple_GET_SIZE(spec) == 0 || PyTuple_GET_SIZE(spec) > 1000000) {
        return bad("form");
    }
    Py_ssize_t count = PyTuple_GET_SIZE(spec);
    program->nodes = PyMem_Calloc((size_t)count, sizeof(Node));
    if (program->nodes == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    program->count = (int)count;
    for (Py_ssize_t i = 0; i < count; i++) {
        Parsing parsing = {program, PyTuple_GET_ITEM(spec, i), &program->nodes[i]};
        int64_t op;
        if (!PyTuple_Check(parsing.spec) || number(&parsing, 0, &op) < 0 || op < 1 || op > OP_COLUMN) {
            return bad("node");
        }
        parsing.node->op = (uint8_t)op;
        if (parse_node(&parsing) < 0) {
            return -1;
        }
    }
    return 0;
}

void
program_clear(Program *program)
{
    Node *nodes = program->nodes;
    int count = program->count;
    program->nodes = NULL;
    program->count = 0;
    for (int i = 0; i < count; i++) {
        Node *node = &nodes[i];
        for (int k = 0; k < node->n_objects; k++) {
            Py_XDECREF(node->objects[k]);
        }
        for (int k = 0; k < node->n_targets; k++) {
            Py_XDECREF(node->targets[k].name);
            Py_XDECREF(node->targets[k].value);
            Py_XDECREF(node->targets[k].factory);
        }
        Py_XDECREF(node->object);
        Py_XDECREF(node->names);
        PyMem_Free(node->kids);
        PyMem_Free(node->slots);
        PyMem_Free(node->objects);
        PyMem_Free(node->targets);
    }
    PyMem_Free(nodes);
}

int
program_visit(Program *program, visitproc visit, void *arg)
{
    for (int i = 0; i < program->count; i++) {
        Node *node = &program->nodes[i];
        for (int k = 0; k < node->n_objects; k++) {
            Py_VISIT(node->objects[k]);
        }
        for (int k = 0; k < node->n_targets; k++) {
            Py_VISIT(node->targets[k].value);
            Py_VISIT(node->targets[k].factory);
        }
        Py_VISIT(node->object);
    }
    return 0;
}
