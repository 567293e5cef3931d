/* Decoder: a program that reads, as something Python can call: `decode(payload, position)`. */
#include "codec.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Program program;
    PyObject *python; /* the Python codec's decoder: decides about whatever is not right, and words the error */
} Decoder;

int
python_decides(void)
{
    PyObject *error = PyErr_Occurred();
    if (error == NULL) {
        return 1;
    }
    /* Memory that runs out says nothing about the record; an interrupt is not the record's either. */
    if (!PyErr_GivenExceptionMatches(error, PyExc_Exception) || PyErr_GivenExceptionMatches(error, PyExc_MemoryError)) {
        return 0;
    }
    PyErr_Clear();
    return 1;
}

/* Notes on the exception at hand which of many it is about. */
void
note_index(Py_ssize_t i)
{
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    PyErr_NormalizeException(&type, &error, &traceback);
    PyObject *index = PyLong_FromSsize_t(i);
    if (index == NULL || error == NULL || PyObject_SetAttrString(error, "index", index) < 0) {
        PyErr_Clear();
    }
    Py_XDECREF(index);
    PyErr_Restore(type, error, traceback);
}

static PyObject *
decode_bytes(Decoder *self, PyObject *payload, Py_ssize_t position)
{
    if (LIKELY(PyBytes_CheckExact(payload)) && position >= 0 && position <= PyBytes_GET_SIZE(payload) &&
        self->program.count > 0) {
        const uint8_t *start = (const uint8_t *)PyBytes_AS_STRING(payload);
        Reader r = {start + position, start + PyBytes_GET_SIZE(payload), 0, 0};
        PyObject *value = read_value(&r, &self->program.nodes[0]);
        if (LIKELY(value != NULL)) {
            if (LIKELY(r.p == r.end)) {
                return value;
            }
            Py_DECREF(value);
        }
        else if (!python_decides()) {
            return NULL;
        }
    }
    PyObject *at = PyLong_FromSsize_t(position);
    if (at == NULL) {
        return NULL;
    }
    PyObject *arguments[] = {payload, at};
    PyObject *value = PyObject_Vectorcall(self->python, arguments, 2, NULL);
    Py_DECREF(at);
    return value;
}

static PyObject *
decoder_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    if (PyVectorcall_NARGS(nargsf) != 2 || (names && PyTuple_GET_SIZE(names) > 0)) {
        PyErr_SetString(PyExc_TypeError, "a decoder takes a payload and a position");
        return NULL;
    }
    Py_ssize_t position = PyLong_AsSsize_t(args[1]);
    if (position == -1 && PyErr_Occurred()) {
        return NULL;
    }
    return decode_bytes((Decoder *)callable, args[0], position);
}

static PyObject *
decoder_many(Decoder *self, PyObject *args)
{
    PyObject *payloads;
    Py_ssize_t position = 0;
    if (!PyArg_ParseTuple(args, "O|n:many", &payloads, &position)) {
        return NULL;
    }
    PyObject *sequence = PySequence_Fast(payloads, "the payloads are not a sequence");
    PyObject *values = sequence ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; values && i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject *payload = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        PyObject *value = decode_bytes(self, payload, position);
        Py_DECREF(payload);
        if (value == NULL) {
            note_index(i);
        }
        if (value == NULL || PyList_Append(values, value) < 0) {
            Py_CLEAR(values);
        }
        Py_XDECREF(value);
    }
    Py_XDECREF(sequence);
    return values;
}

/* Those from the first on whose first bytes, in front of the position, are the first one's. */
static PyObject *
decoder_leading(Decoder *self, PyObject *args)
{
    PyObject *payloads;
    Py_ssize_t position;
    if (!PyArg_ParseTuple(args, "O!n:leading", &PyList_Type, &payloads, &position)) {
        return NULL;
    }
    PyObject *values = PyList_New(0), *first = NULL;
    for (Py_ssize_t i = 0; values && i < PyList_GET_SIZE(payloads); i++) {
        PyObject *payload = Py_NewRef(PyList_GET_ITEM(payloads, i));
        if (i == 0) {
            first = Py_NewRef(payload);
        }
        else if (!PyBytes_CheckExact(payload) || !PyBytes_CheckExact(first) || position < 0 ||
                 PyBytes_GET_SIZE(payload) < position || PyBytes_GET_SIZE(first) < position ||
                 memcmp(PyBytes_AS_STRING(payload), PyBytes_AS_STRING(first), (size_t)position) != 0) {
            Py_DECREF(payload);
            break;
        }
        PyObject *value = decode_bytes(self, payload, position);
        Py_DECREF(payload);
        if (value == NULL) {
            note_index(i);
        }
        if (value == NULL || PyList_Append(values, value) < 0) {
            Py_CLEAR(values);
        }
        Py_XDECREF(value);
    }
    Py_XDECREF(first);
    return values;
}

static PyObject *
decoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *spec, *python;
    static char *names[] = {"program", "python", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Decoder", names, &spec, &python)) {
        return NULL;
    }
    Decoder *self = (Decoder *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = decoder_call;
    self->python = Py_NewRef(python);
    if (program_parse(&self->program, spec) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
decoder_traverse(Decoder *self, visitproc visit, void *arg)
{
    Py_VISIT(self->python);
    return program_visit(&self->program, visit, arg);
}

static int
decoder_clear(Decoder *self)
{
    Py_CLEAR(self->python);
    program_clear(&self->program);
    return 0;
}

static void
decoder_dealloc(Decoder *self)
{
    PyObject_GC_UnTrack(self);
    decoder_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef decoder_methods[] = {
    {"many", (PyCFunction)decoder_many, METH_VARARGS,
     "many(payloads, position=0): the objects in many payloads, in their order."},
    {"leading", (PyCFunction)decoder_leading, METH_VARARGS,
     "leading(payloads, position): the objects in those from the first on that begin with the same bytes as the first, "
     "as many as the position says."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject DecoderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ottla.serde.avro._codec.Decoder",
    .tp_basicsize = sizeof(Decoder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "Reads payloads: call it with bytes and the position at which the payload begins.",
    .tp_new = decoder_new,
    .tp_dealloc = (destructor)decoder_dealloc,
    .tp_traverse = (traverseproc)decoder_traverse,
    .tp_clear = (inquiry)decoder_clear,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Decoder, vectorcall),
    .tp_methods = decoder_methods,
};
