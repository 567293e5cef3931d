/* Records read: their values gathered, then the object made as its class makes it. */
#include "codec.h"

#define VALUES_LOCAL 16

static PyObject *post_init_name, *attrs_post_init_name;

int
records_init(void)
{
    post_init_name = PyUnicode_InternFromString("__post_init__");
    attrs_post_init_name = PyUnicode_InternFromString("__attrs_post_init__");
    return post_init_name && attrs_post_init_name ? 0 : -1;
}

static PyObject *
into_dict(Reader *r, const Node *node)
{
    PyObject *dict = PyDict_New();
    if (dict == NULL) {
        return NULL;
    }
    for (int i = 0; i < node->n; i++) {
        if (node->slots[i] < 0) {
            if (skip_value(r, node->kids[i]) < 0) {
                goto failed;
            }
            continue;
        }
        PyObject *value = read_value(r, node->kids[i]);
        int refused = value ? PyDict_SetItem(dict, node->objects[node->slots[i]], value) : -1;
        Py_XDECREF(value);
        if (refused < 0) {
            goto failed;
        }
    }
    return dict;
failed:
    Py_DECREF(dict);
    return NULL;
}

static PyObject *
from_dict(Reader *r, const Node *node)
{
    PyObject *dict = into_dict(r, node);
    if (dict == NULL || node->make == MAKE_DICT) {
        return dict;
    }
    PyObject *made = PyObject_CallOneArg(node->object, dict);
    Py_DECREF(dict);
    return made;
}

/* An instance whose constructor does nothing but set attributes: they are set here. Takes the values over. */
static PyObject *
made_directly(const Node *node, PyObject **values)
{
    PyTypeObject *cls = (PyTypeObject *)node->object;
    PyObject *made = cls->tp_alloc(cls, 0);
    if (made == NULL) {
        return NULL;
    }
    for (int i = 0; i < node->n_targets; i++) {
        const Target *target = &node->targets[i];
        PyObject *value;
        if (target->slot >= 0) {
            value = values[target->slot];
            values[target->slot] = NULL;
        }
        else {
            value = target->value ? Py_NewRef(target->value) : PyObject_CallNoArgs(target->factory);
        }
        if (value == NULL) {
            goto failed;
        }
        if (target->offset) {
            *(PyObject **)((char *)made + target->offset) = value;
            continue;
        }
        int refused = PyObject_GenericSetAttr(made, target->name, value);
        Py_DECREF(value);
        if (refused < 0) {
            goto failed;
        }
    }
    if (node->scale) {
        PyObject *done = PyObject_CallMethodNoArgs(made, node->scale == 1 ? post_init_name : attrs_post_init_name);
        if (done == NULL) {
            goto failed;
        }
        Py_DECREF(done);
    }
    return made;
failed:
    Py_DECREF(made);
    return NULL;
}

PyObject *
make_record(Reader *r, const Node *node)
{
    if (node->make == MAKE_DICT || node->make == MAKE_FROM_DICT) {
        return from_dict(r, node);
    }
    PyObject *local[VALUES_LOCAL], **values = local, *made = NULL;
    int count = (int)node->size;
    if (count > VALUES_LOCAL) {
        values = PyMem_Malloc((size_t)count * sizeof(PyObject *));
        if (values == NULL) {
            return PyErr_NoMemory();
        }
    }
    memset(values, 0, (size_t)count * sizeof(PyObject *));
    for (int i = 0; i < node->n; i++) {
        int slot = node->slots[i];
        if (slot < 0) {
            if (skip_value(r, node->kids[i]) < 0) {
                goto done;
            }
            continue;
        }
        values[slot] = read_value(r, node->kids[i]);
        if (UNLIKELY(values[slot] == NULL)) {
            goto done;
        }
    }
    if (node->make == MAKE_DIRECTLY) {
        made = made_directly(node, values);
    }
    else {
        made = PyObject_Vectorcall(node->object, values, (size_t)node->scale, node->names);
    }
done:
    for (int i = 0; i < count; i++) {
        Py_XDECREF(values[i]);
    }
    if (values != local) {
        PyMem_Free(values);
    }
    return made;
}
