/* Encoder: a program that writes, as something Python can call: `encode(object, prefix=b"")`. */
#include "codec.h"

/* Most events fit, so that the only allocation is the result's. */
#define LOCAL_SIZE 2048

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    Program program;
    PyObject *python; /* the Python codec's encoder: writes whatever is not usual, and words the error */
} Encoder;

static PyObject *
encode_object(Encoder *self, PyObject *object, PyObject *prefix)
{
    uint8_t local[LOCAL_SIZE];
    Writer w = {local, local, local + LOCAL_SIZE, NULL, 0, 0};
    int failed = self->program.count == 0;
    if (!failed && prefix) {
        failed = reserve(&w, (size_t)PyBytes_GET_SIZE(prefix));
        if (!failed) {
            memcpy(w.p, PyBytes_AS_STRING(prefix), (size_t)PyBytes_GET_SIZE(prefix));
            w.p += PyBytes_GET_SIZE(prefix);
        }
    }
    failed = failed || write_value(&w, &self->program.nodes[0], object) < 0;
    PyObject *data = NULL;
    if (LIKELY(!failed)) {
        data = PyBytes_FromStringAndSize((const char *)w.start, w.p - w.start);
    }
    PyMem_Free(w.heap);
    if (LIKELY(!failed) || !python_decides()) {
        return data;
    }
    PyObject *arguments[] = {object, prefix};
    return PyObject_Vectorcall(self->python, arguments, prefix ? 2 : 1, NULL);
}

static PyObject *
encoder_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names)
{
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (n < 1 || n > 2 || (names && PyTuple_GET_SIZE(names) > 0) || (n == 2 && !PyBytes_CheckExact(args[1]))) {
        PyErr_SetString(PyExc_TypeError, "an encoder takes an object, and perhaps the bytes to put in front");
        return NULL;
    }
    return encode_object((Encoder *)callable, args[0], n == 2 ? args[1] : NULL);
}

static PyObject *
encoder_many(Encoder *self, PyObject *args)
{
    PyObject *objects, *prefix = NULL;
    if (!PyArg_ParseTuple(args, "O|S:many", &objects, &prefix)) {
        return NULL;
    }
    PyObject *sequence = PySequence_Fast(objects, "the objects are not a sequence");
    PyObject *payloads = sequence ? PyList_New(0) : NULL;
    for (Py_ssize_t i = 0; payloads && i < PySequence_Fast_GET_SIZE(sequence); i++) {
        PyObject *object = Py_NewRef(PySequence_Fast_GET_ITEM(sequence, i));
        PyObject *payload = encode_object(self, object, prefix);
        Py_DECREF(object);
        if (payload == NULL) {
            note_index(i);
        }
        if (payload == NULL || PyList_Append(payloads, payload) < 0) {
            Py_CLEAR(payloads);
        }
        Py_XDECREF(payload);
    }
    Py_XDECREF(sequence);
    return payloads;
}

static PyObject *
encoder_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *spec, *python;
    static char *names[] = {"program", "python", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OO:Encoder", names, &spec, &python)) {
        return NULL;
    }
    Encoder *self = (Encoder *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->vectorcall = encoder_call;
    self->python = Py_NewRef(python);
    if (program_parse(&self->program, spec) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
encoder_traverse(Encoder *self, visitproc visit, void *arg)
{
    Py_VISIT(self->python);
    return program_visit(&self->program, visit, arg);
}

static int
encoder_clear(Encoder *self)
{
    Py_CLEAR(self->python);
    program_clear(&self->program);
    return 0;
}

static void
encoder_dealloc(Encoder *self)
{
    PyObject_GC_UnTrack(self);
    encoder_clear(self);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyMethodDef encoder_methods[] = {
    {"many", (PyCFunction)encoder_many, METH_VARARGS,
     "many(objects, prefix=b\"\"): the payloads of many objects, in their order."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject EncoderType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "ottla.serde.avro._codec.Encoder",
    .tp_basicsize = sizeof(Encoder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_doc = "Writes objects: call it with one, and perhaps with bytes to put in front of the payload.",
    .tp_new = encoder_new,
    .tp_dealloc = (destructor)encoder_dealloc,
    .tp_traverse = (traverseproc)encoder_traverse,
    .tp_clear = (inquiry)encoder_clear,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Encoder, vectorcall),
    .tp_methods = encoder_methods,
};
