/* ColumnReader: many payloads of one schema into one buffer for each of some fields, without an object for any value.
 *
 * A program for columns is made of nodes that skip, with OP_COLUMN in the places of the wanted fields. */
#include "codec.h"

typedef struct {
    uint8_t *data;
    size_t used, size;
} Buffer;

typedef struct {
    Buffer values;     /* of a fixed width */
    PyObject *objects; /* str or bytes, and None for null */
    Buffer missing;    /* one byte for each value: 1 for null */
} Column;

/* What a column's values are. The names are exported to Python. */
enum { COLUMN_LONG = 0, COLUMN_DOUBLE, COLUMN_FLOAT, COLUMN_BOOLEAN, COLUMN_TEXT, COLUMN_BYTES, COLUMN_FIXED };

typedef struct {
    PyObject_HEAD
    Program program;
    int count; /* columns */
} ColumnReader;

static int
append(Buffer *buffer, const void *data, size_t n)
{
    if (buffer->size - buffer->used < n) {
        size_t size = buffer->size ? buffer->size * 2 : 1024;
        while (size - buffer->used < n) {
            size *= 2;
        }
        uint8_t *grown = PyMem_Realloc(buffer->data, size);
        if (grown == NULL) {
            PyErr_NoMemory();
            return -1;
        }
        buffer->data = grown;
        buffer->size = size;
    }
    if (n > 0) {
        memcpy(buffer->data + buffer->used, data, n);
    }
    buffer->used += n;
    return 0;
}

/* Takes the object over. */
static int
append_object(Column *column, PyObject *object)
{
    if (object == NULL) {
        return -1;
    }
    if (column->objects == NULL) {
        column->objects = PyList_New(0);
    }
    int failed = column->objects == NULL || PyList_Append(column->objects, object) < 0;
    Py_DECREF(object);
    return failed ? -1 : 0;
}

static int
append_missing(Column *column, int kind)
{
    static const uint8_t zeros[8] = {0};
    if (kind >= COLUMN_TEXT) {
        return append_object(column, Py_NewRef(Py_None));
    }
    return append(&column->values, zeros, kind == COLUMN_BOOLEAN ? 1 : kind == COLUMN_FLOAT ? 4 : 8);
}

static int
append_value(Reader *r, Column *column, int kind, const Node *kid)
{
    int64_t n;
    Py_ssize_t size;
    int failed;
    switch (kind) {
        case COLUMN_LONG:
            return read_long(r, &n) < 0 ? -1 : append(&column->values, &n, 8);
        case COLUMN_BOOLEAN:
            if (r->p >= r->end || *r->p > 1) {
                return -1;
            }
            return append(&column->values, r->p++, 1);
        case COLUMN_DOUBLE:
        case COLUMN_FLOAT: /* as they are on the wire: low byte first */
            size = kind == COLUMN_DOUBLE ? 8 : 4;
            if (size > r->end - r->p) {
                return -1;
            }
            failed = append(&column->values, r->p, (size_t)size);
            r->p += size;
            return failed;
        case COLUMN_TEXT:
        case COLUMN_BYTES:
            if (read_length(r, &size) < 0) {
                return -1;
            }
            break;
        default:
            size = (Py_ssize_t)kid->size;
            if (size > r->end - r->p) {
                return -1;
            }
    }
    failed = append_object(column, kind == COLUMN_TEXT ? text_from_utf8(r->p, size)
                                                       : PyBytes_FromStringAndSize((const char *)r->p, size));
    r->p += size;
    return failed;
}

static int
read_column(Reader *r, const Node *node, Column *columns)
{
    Column *column = &columns[node->scale];
    uint8_t missing = 0;
    if (node->size >= 0) {
        int64_t branch;
        if (read_long(r, &branch) < 0 || branch < 0 || branch > 1) {
            return -1;
        }
        missing = branch == node->size;
        if (append(&column->missing, &missing, 1) < 0) {
            return -1;
        }
    }
    const Node *kid = node->kids[0];
    return missing ? append_missing(column, node->make) : append_value(r, column, node->make, kid);
}

static int
read_columns(Reader *r, const Node *node, Column *columns)
{
    if (node->op == OP_COLUMN) {
        return read_column(r, node, columns);
    }
    if (node->op != OP_SKIP_RECORD || node->flag) {
        return skip_value(r, node);
    }
    if (++r->nesting > NESTING_MAX) {
        return -1;
    }
    for (int i = 0; i < node->n; i++) {
        if (read_columns(r, node->kids[i], columns) < 0) {
            return -1;
        }
    }
    r->nesting--;
    return 0;
}

static PyObject *
bytearray_of(const Buffer *buffer)
{
    return PyByteArray_FromStringAndSize((const char *)buffer->data, (Py_ssize_t)buffer->used);
}

/* [(values, objects or None, missing), ...] */
static PyObject *
finished(const Column *columns, int count)
{
    PyObject *list = PyList_New(count);
    for (int i = 0; list && i < count; i++) {
        PyObject *values = bytearray_of(&columns[i].values), *missing = bytearray_of(&columns[i].missing);
        PyObject *objects = columns[i].objects ? columns[i].objects : Py_None;
        PyObject *tuple = values && missing ? PyTuple_Pack(3, values, objects, missing) : NULL;
        Py_XDECREF(values);
        Py_XDECREF(missing);
        if (tuple == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, tuple);
    }
    return list;
}

static PyObject *
column_reader_call(ColumnReader *self, PyObject *args, PyObject *kwargs)
{
    PyObject *payloads, *result = NULL;
    Py_ssize_t position = 0;
    static char *names[] = {"", "", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|n:ColumnReader", names, &payloads, &position)) {
        return NULL;
    }
    PyObject *sequence = PySequence_Fast(payloads, "the payloads are not a sequence");
    Column *columns = sequence ? PyMem_Calloc((size_t)self->count + 1, sizeof(Column)) : NULL;
    int fine = columns != NULL && self->program.count > 0 && position >= 0;
    for (Py_ssize_t i = 0; fine && i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject *payload = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        fine = PyBytes_CheckExact(payload) && position <= PyBytes_GET_SIZE(payload);
        if (fine) {
            const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(payload);
            Reader r = {start + position, start + PyBytes_GET_SIZE(payload), 0, 0};
            fine = read_columns(&r, &self->program.nodes[0], columns) == 0 && r.p == r.end;
        }
        Py_DECREF(payload);
    }
    if (fine) {
        result = finished(columns, self->count);
    }
    else if (sequence && columns && python_decides()) {
        result = Py_NewRef(Py_None); /* Python's codec is to find out what is wrong */
    }
    else if (!PyErr_Occurred()) {
        PyErr_NoMemory();
    }
    for (int i = 0; columns && i < self->count; i++) {
        PyMem_Free(columns[i].values.data);
        Py_XDECREF(columns[i].objects);
        PyMem_Free(columns[i].missing.data);
    }
    PyMem_Free(columns);
    Py_XDECREF(sequence);
    return result;
}

static PyObject *
column_reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *spec;
    int count;
    static char *names[] = {"program", "columns", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi:ColumnReader", names, &spec, &count)) {
        return NULL;
    }
    ColumnReader *self = (ColumnReader *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->count = count;
    if (program_parse(&self->program, spec) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    for (int i = 0; i < self->program.count; i++) {
        const Node *node = &self->program.nodes[i];
        if (node->op == OP_COLUMN && (node->scale < 0 || node->scale >= count || node->make > COLUMN_FIXED)) {
            PyErr_SetString(PyExc_ValueError, "a program has a bad column");
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static void
column_reader_dealloc(ColumnReader *self)
{
    program_clear(&self->program);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

PyTypeObject ColumnReaderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ottla.serde.avro._codec.ColumnReader",
    .tp_basicsize = sizeof(ColumnReader),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "Reads fields of many payloads into buffers: call it with payloads and the position at which they begin.",
    .tp_new = column_reader_new,
    .tp_dealloc = (destructor)column_reader_dealloc,
    .tp_call = (ternaryfunc)column_reader_call,
};
