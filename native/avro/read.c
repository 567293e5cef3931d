/* Reading: a program's nodes executed over bytes. */
#include "codec.h"

NOINLINE int
read_long_slow(Reader *r, int64_t *out)
{
    uint64_t z = 0;
    int shift = 0;
    const uint8_t *p = r->p;
    for (;;) {
        if (p >= r->end) {
            return -1;
        }
        uint8_t b = *p++;
        if (shift == 63 && b > 1) {
            return -1; /* an eleventh byte would follow, or a 65th bit */
        }
        z |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            break;
        }
        shift += 7;
    }
    r->p = p;
    *out = (int64_t)(z >> 1) ^ -(int64_t)(z & 1);
    return 0;
}

/* How many items the next block has; 0 ends an array. `fine` becomes 0 where the bytes are not right.
 * No block is longer than what is left has bytes, since every item takes one; items that take none are few. */
int64_t
read_block_count(Reader *r, int empty_items, int *fine)
{
    int64_t n, size;
    *fine = 0;
    if (read_long(r, &n) < 0) {
        return 0;
    }
    if (n < 0) {
        if (n == INT64_MIN || read_long(r, &size) < 0) {
            return 0;
        }
        n = -n;
        if (!empty_items && (size < 0 || size > r->end - r->p)) {
            return 0;
        }
    }
    if (empty_items ? n > EMPTY_ITEMS_MAX : n > r->end - r->p) {
        return 0;
    }
    *fine = 1;
    return n;
}

static PyObject *
read_double(Reader *r)
{
    if (UNLIKELY(r->end - r->p < 8)) {
        return NULL;
    }
    uint64_t bits = 0;
    for (int i = 7; i >= 0; i--) {
        bits = bits << 8 | r->p[i];
    }
    double value;
    memcpy(&value, &bits, 8);
    r->p += 8;
    return PyFloat_FromDouble(value);
}

static PyObject *
read_float(Reader *r)
{
    if (r->end - r->p < 4) {
        return NULL;
    }
    uint32_t bits = 0;
    for (int i = 3; i >= 0; i--) {
        bits = bits << 8 | r->p[i];
    }
    float value;
    memcpy(&value, &bits, 4);
    r->p += 4;
    return PyFloat_FromDouble((double)value);
}

/* A list that grows: most arrays come in one block, whose count is the list's size. */
static PyObject *
read_list(Reader *r, const Node *node)
{
    const Node *item = node->kids[0];
    PyObject *list = NULL;
    int fine;
    for (;;) {
        int64_t n = read_block_count(r, node->flag, &fine);
        if (!fine || (list && node->flag && PyList_GET_SIZE(list) + n > EMPTY_ITEMS_MAX)) {
            goto failed;
        }
        if (n == 0) {
            return list ? list : PyList_New(0);
        }
        int64_t i = 0;
        if (list == NULL) {
            /* Nobody may see the list before all of its places are filled. */
            Py_ssize_t size = (Py_ssize_t)(n < 1024 ? n : 1024);
            list = PyList_New(size);
            if (list == NULL) {
                return NULL;
            }
            PyObject_GC_UnTrack(list);
            for (; i < size; i++) {
                PyObject *value = read_value(r, item);
                if (UNLIKELY(value == NULL)) {
                    PyObject_GC_Track(list);
                    goto failed;
                }
                PyList_SET_ITEM(list, i, value);
            }
            PyObject_GC_Track(list);
        }
        for (; i < n; i++) {
            PyObject *value = read_value(r, item);
            if (value == NULL) {
                goto failed;
            }
            int refused = PyList_Append(list, value);
            Py_DECREF(value);
            if (refused < 0) {
                goto failed;
            }
        }
    }
failed:
    Py_XDECREF(list);
    return NULL;
}

static PyObject *
read_array(Reader *r, const Node *node)
{
    PyObject *list = read_list(r, node), *value;
    if (list == NULL || node->make == 0) {
        return list;
    }
    if (node->make == 1) {
        value = PyList_AsTuple(list);
    }
    else {
        value = node->make == 2 ? PySet_New(list) : PyFrozenSet_New(list);
    }
    Py_DECREF(list);
    return value;
}

static PyObject *
read_map(Reader *r, const Node *node)
{
    const Node *item = node->kids[0];
    PyObject *map = PyDict_New();
    int fine;
    if (map == NULL) {
        return NULL;
    }
    for (;;) {
        int64_t n = read_block_count(r, 0, &fine);
        if (!fine) {
            goto failed;
        }
        if (n == 0) {
            return map;
        }
        while (n-- > 0) {
            Py_ssize_t size;
            if (read_length(r, &size) < 0) {
                goto failed;
            }
            PyObject *key = key_from_utf8(r->p, size);
            r->p += size;
            PyObject *value = key ? read_value(r, item) : NULL;
            int refused = value ? PyDict_SetItem(map, key, value) : -1;
            Py_XDECREF(key);
            Py_XDECREF(value);
            if (refused < 0) {
                goto failed;
            }
        }
    }
failed:
    Py_DECREF(map);
    return NULL;
}

static PyObject *
read_union(Reader *r, const Node *node)
{
    int64_t i;
    if (UNLIKELY(read_long(r, &i) < 0) || UNLIKELY(i < 0) || UNLIKELY(i >= node->n)) {
        return NULL;
    }
    return read_value(r, node->kids[i]);
}

static NOINLINE PyObject *
read_compound(Reader *r, const Node *node)
{
    PyObject *value = NULL;
    if (UNLIKELY(++r->nesting > NESTING_MAX)) {
        return NULL; /* given up for good: nobody counts down any more */
    }
    switch (node->op) {
        case OP_ARRAY:
            value = read_array(r, node);
            break;
        case OP_MAP:
            value = read_map(r, node);
            break;
        case OP_UNION:
            value = read_union(r, node);
            break;
        case OP_RECORD:
            if (!node->flag) {
                value = make_record(r, node);
            }
            else if (r->depth <= DEPTH_MAX) {
                r->depth++;
                value = make_record(r, node);
                r->depth--;
            }
            break;
    }
    r->nesting--;
    return value;
}

static NOINLINE PyObject *
read_decimal(Reader *r, const Node *node)
{
    Py_ssize_t size = (Py_ssize_t)node->size;
    if (size < 0 ? read_length(r, &size) < 0 : size > r->end - r->p) {
        return NULL;
    }
    PyObject *value = decimal_value(r->p, size, node);
    r->p += size;
    return value;
}

static NOINLINE PyObject *
read_converted(Reader *r, const Node *node)
{
    PyObject *plain = read_value(r, node->kids[0]);
    if (plain == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_CallOneArg(node->object, plain);
    Py_DECREF(plain);
    return value;
}

PyObject *
read_value(Reader *r, const Node *node)
{
    int64_t n;
    Py_ssize_t size;
    PyObject *value;
    switch (node->op) {
        case OP_STRING:
            if (UNLIKELY(read_length(r, &size) < 0)) {
                return NULL;
            }
            value = text_from_utf8(r->p, size);
            r->p += size;
            return value;
        case OP_LONG:
            return LIKELY(read_long(r, &n) == 0) ? PyLong_FromLongLong(n) : NULL;
        case OP_DOUBLE:
            return read_double(r);
        case OP_RECORD:
        case OP_ARRAY:
        case OP_MAP:
        case OP_UNION:
            return read_compound(r, node);
        case OP_NULL:
            return Py_NewRef(Py_None);
        case OP_BOOLEAN:
            if (UNLIKELY(r->p >= r->end) || UNLIKELY(*r->p > 1)) {
                return NULL;
            }
            return Py_NewRef(*r->p++ ? Py_True : Py_False);
        case OP_BYTES:
            if (UNLIKELY(read_length(r, &size) < 0)) {
                return NULL;
            }
            value = PyBytes_FromStringAndSize((const char *)r->p, size);
            r->p += size;
            return value;
        case OP_ENUM:
            if (UNLIKELY(read_long(r, &n) < 0) || UNLIKELY(n < 0) || UNLIKELY(n >= node->n_objects)) {
                return NULL;
            }
            value = node->objects[n];
            return UNLIKELY(value == Py_Ellipsis) ? NULL : Py_NewRef(value); /* Ellipsis: a symbol nobody knows */
        case OP_TIMESTAMP:
            return LIKELY(read_long(r, &n) == 0) ? timestamp_value(n, node->make, node->flag) : NULL;
        case OP_DECIMAL:
            return read_decimal(r, node);
        case OP_DATE:
            return LIKELY(read_long(r, &n) == 0) ? date_value(n) : NULL;
        case OP_TIME:
            return LIKELY(read_long(r, &n) == 0) ? time_value(n, node->make) : NULL;
        case OP_TIMEDELTA:
            return LIKELY(read_long(r, &n) == 0) ? timedelta_value(n) : NULL;
        case OP_UUID:
            if (UNLIKELY(read_length(r, &size) < 0)) {
                return NULL;
            }
            value = uuid_from_text(r->p, size);
            r->p += size;
            return value;
        case OP_UUID_FIXED:
            if (UNLIKELY(r->end - r->p < 16)) {
                return NULL;
            }
            value = uuid_from_bytes(r->p);
            r->p += 16;
            return value;
        case OP_FLOAT:
            return read_float(r);
        case OP_FIXED:
            if (UNLIKELY(node->size > r->end - r->p)) {
                return NULL;
            }
            value = PyBytes_FromStringAndSize((const char *)r->p, (Py_ssize_t)node->size);
            r->p += node->size;
            return value;
        case OP_LONG_AS_DOUBLE:
            return LIKELY(read_long(r, &n) == 0) ? PyFloat_FromDouble((double)n) : NULL;
        case OP_CONVERT:
            return read_converted(r, node);
        default:
            return NULL; /* OP_REFUSE, and what belongs to writing */
    }
}
