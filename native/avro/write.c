/* Writing: a program's nodes executed over objects.
 *
 * -1 without an exception means: not what this code knows how to write, so Python's codec is to try. */
#include "codec.h"

NOINLINE int
writer_grow(Writer *w, size_t more)
{
    size_t used = (size_t)(w->p - w->start), size = (size_t)(w->end - w->start);
    if (more > (size_t)PY_SSIZE_T_MAX / 2 - used) {
        PyErr_NoMemory();
        return -1;
    }
    while (size < used + more) {
        size *= 2;
    }
    uint8_t *heap = PyMem_Realloc(w->heap, size);
    if (heap == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    if (w->heap == NULL) {
        memcpy(heap, w->start, used);
    }
    w->heap = w->start = heap;
    w->p = heap + used;
    w->end = heap + size;
    return 0;
}

static int
write_number(Writer *w, PyObject *value)
{
    int overflow = 0;
    if (UNLIKELY(!PyLong_CheckExact(value))) {
        return -1;
    }
    int64_t n = PyLong_AsLongLongAndOverflow(value, &overflow);
    return UNLIKELY(overflow) ? -1 : write_long(w, n);
}

static int
write_double(Writer *w, PyObject *value)
{
    double number;
    if (LIKELY(PyFloat_CheckExact(value))) {
        number = PyFloat_AS_DOUBLE(value);
    }
    else if (PyLong_CheckExact(value)) {
        number = PyLong_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) {
            return -1;
        }
    }
    else {
        return -1;
    }
    if (UNLIKELY(reserve(w, 8) < 0)) {
        return -1;
    }
    uint64_t bits;
    memcpy(&bits, &number, 8);
    for (int i = 0; i < 8; i++) {
        *w->p++ = (uint8_t)(bits >> (8 * i));
    }
    return 0;
}

static int
write_bytes(Writer *w, PyObject *value)
{
    if (UNLIKELY(!PyBytes_CheckExact(value))) {
        return -1;
    }
    Py_ssize_t n = PyBytes_GET_SIZE(value);
    if (UNLIKELY(reserve(w, (size_t)n + 10) < 0)) {
        return -1;
    }
    put_long(w, n);
    memcpy(w->p, PyBytes_AS_STRING(value), (size_t)n);
    w->p += n;
    return 0;
}

static int
write_fixed(Writer *w, PyObject *value, int64_t size)
{
    if (!PyBytes_CheckExact(value) || PyBytes_GET_SIZE(value) != size || reserve(w, (size_t)size) < 0) {
        return -1;
    }
    memcpy(w->p, PyBytes_AS_STRING(value), (size_t)size);
    w->p += size;
    return 0;
}

static int
write_byte(Writer *w, uint8_t byte)
{
    if (UNLIKELY(reserve(w, 1) < 0)) {
        return -1;
    }
    *w->p++ = byte;
    return 0;
}

/* Items of a list or tuple. An item's own code may change the list meanwhile: then Python starts again. */
static int
write_items(Writer *w, const Node *item, PyObject *value)
{
    Py_ssize_t n = PySequence_Fast_GET_SIZE(value);
    if (write_long(w, n) < 0) {
        return -1;
    }
    for (Py_ssize_t i = 0; i < n; i++) {
        if (UNLIKELY(PySequence_Fast_GET_SIZE(value) != n)) {
            return -1;
        }
        PyObject *one = Py_NewRef(PySequence_Fast_GET_ITEM(value, i));
        int failed = write_value(w, item, one);
        Py_DECREF(one);
        if (UNLIKELY(failed)) {
            return -1;
        }
    }
    return PySequence_Fast_GET_SIZE(value) != n ? -1 : n ? write_byte(w, 0) : 0;
}

static int
write_set(Writer *w, const Node *item, PyObject *value)
{
    Py_ssize_t n = PySet_GET_SIZE(value), written = 0;
    PyObject *iterator = PyObject_GetIter(value), *one;
    if (iterator == NULL) {
        return -1;
    }
    int failed = write_long(w, n);
    while (!failed && (one = PyIter_Next(iterator)) != NULL) {
        failed = write_value(w, item, one);
        written++;
        Py_DECREF(one);
    }
    Py_DECREF(iterator);
    if (failed || PyErr_Occurred() || written != n) {
        return -1;
    }
    return n ? write_byte(w, 0) : 0;
}

static int
write_array(Writer *w, const Node *node, PyObject *value)
{
    if (LIKELY(PyList_CheckExact(value)) || PyTuple_CheckExact(value)) {
        return write_items(w, node->kids[0], value);
    }
    if (PyAnySet_CheckExact(value)) {
        return write_set(w, node->kids[0], value);
    }
    return -1;
}

static int
write_map(Writer *w, const Node *node, PyObject *value)
{
    if (UNLIKELY(!PyDict_CheckExact(value))) {
        return -1;
    }
    Py_ssize_t n = PyDict_GET_SIZE(value), at = 0, written = 0;
    PyObject *key, *one;
    if (write_long(w, n) < 0) {
        return -1;
    }
    while (PyDict_Next(value, &at, &key, &one)) {
        Py_INCREF(key);
        Py_INCREF(one);
        int failed = write_text(w, key) < 0 || write_value(w, node->kids[0], one) < 0;
        Py_DECREF(key);
        Py_DECREF(one);
        if (UNLIKELY(failed) || UNLIKELY(++written > n)) {
            return -1;
        }
    }
    if (written != n || PyDict_GET_SIZE(value) != n) {
        return -1;
    }
    return n ? write_byte(w, 0) : 0;
}

static int
write_record(Writer *w, const Node *node, PyObject *value)
{
    int known = Py_IS_TYPE(value, (PyTypeObject *)node->object);
    for (int i = 0; i < node->n; i++) {
        const Target *target = &node->targets[i];
        PyObject *one;
        if (LIKELY(known) && target->offset) {
            one = *(PyObject **)((char *)value + target->offset);
            if (UNLIKELY(one == NULL)) {
                return -1; /* never set, or deleted */
            }
            Py_INCREF(one);
        }
        else {
            one = PyObject_GetAttr(value, target->name);
            if (UNLIKELY(one == NULL)) {
                return -1;
            }
        }
        int failed = write_value(w, node->kids[i], one);
        Py_DECREF(one);
        if (UNLIKELY(failed)) {
            return -1;
        }
    }
    return 0;
}

static int
write_union(Writer *w, const Node *node, PyObject *value)
{
    PyObject *cls = (PyObject *)Py_TYPE(value);
    for (int i = 0; i < node->n_objects; i++) {
        if (node->objects[i] == cls) {
            int branch = node->slots[i];
            return write_long(w, branch) < 0 ? -1 : write_value(w, node->kids[branch], value);
        }
    }
    PyObject *picked = PyObject_CallOneArg(node->object, value);
    if (picked == NULL) {
        return -1;
    }
    Py_ssize_t branch = PyLong_AsSsize_t(picked);
    Py_DECREF(picked);
    if (branch < 0 || branch >= node->n) {
        return -1;
    }
    return write_long(w, branch) < 0 ? -1 : write_value(w, node->kids[branch], value);
}

static NOINLINE int
write_compound(Writer *w, const Node *node, PyObject *value)
{
    int failed = -1;
    if (UNLIKELY(++w->nesting > NESTING_MAX)) {
        return -1; /* given up for good: nobody counts down any more */
    }
    switch (node->op) {
        case OP_ARRAY:
            failed = write_array(w, node, value);
            break;
        case OP_MAP:
            failed = write_map(w, node, value);
            break;
        case OP_UNION:
            failed = write_union(w, node, value);
            break;
        case OP_RECORD:
            if (!node->flag) {
                failed = write_record(w, node, value);
            }
            else if (w->depth <= DEPTH_MAX) {
                w->depth++;
                failed = write_record(w, node, value);
                w->depth--;
            }
            break;
    }
    w->nesting--;
    return failed;
}

static int
write_enum(Writer *w, const Node *node, PyObject *value)
{
    /* By identity: members live as long as their class. */
    for (int i = 0; i < node->n_objects; i++) {
        if (node->objects[i] == value) {
            return write_long(w, i);
        }
    }
    return -1;
}

static int
write_symbol(Writer *w, const Node *node, PyObject *value)
{
    if (!PyUnicode_CheckExact(value)) {
        return -1;
    }
    PyObject *index = PyDict_GetItemWithError(node->object, value);
    return index ? write_number(w, index) : -1;
}

static int
write_allowed(Writer *w, const Node *node, PyObject *value)
{
    if (!PyUnicode_CheckExact(value) && !PyLong_CheckExact(value)) {
        return -1;
    }
    PyObject *known = PyDict_GetItemWithError(node->object, value);
    return known ? write_value(w, node->kids[0], known) : -1;
}

int
write_value(Writer *w, const Node *node, PyObject *value)
{
    switch (node->op) {
        case OP_STRING:
            return write_text(w, value);
        case OP_LONG:
            return write_number(w, value);
        case OP_DOUBLE:
            return write_double(w, value);
        case OP_OPTIONAL:
            if (value == Py_None) {
                return write_long(w, node->size);
            }
            return write_long(w, 1 - node->size) < 0 ? -1 : write_value(w, node->kids[0], value);
        case OP_RECORD:
        case OP_ARRAY:
        case OP_MAP:
        case OP_UNION:
            return write_compound(w, node, value);
        case OP_NULL:
            return value == Py_None ? 0 : -1;
        case OP_BOOLEAN:
            return value == Py_True ? write_byte(w, 1) : value == Py_False ? write_byte(w, 0) : -1;
        case OP_BYTES:
            return write_bytes(w, value);
        case OP_FIXED:
            return write_fixed(w, value, node->size);
        case OP_ENUM:
            return write_enum(w, node, value);
        case OP_SYMBOL:
            return write_symbol(w, node, value);
        case OP_ALLOWED:
            return write_allowed(w, node, value);
        case OP_TIMESTAMP:
            return write_timestamp(w, value, node->make);
        case OP_DATE:
            return write_date(w, value);
        case OP_TIME:
            return write_time(w, value, node->make);
        case OP_TIMEDELTA:
            return write_timedelta(w, value);
        case OP_UUID:
            return write_uuid(w, value);
        case OP_DECIMAL:
            return write_decimal(w, node, value);
        default:
            return -1;
    }
}
