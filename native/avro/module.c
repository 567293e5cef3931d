/* The module `ottla.serde.avro._codec`. */
#include "codec.h"

static const struct {
    const char *name;
    int value;
} constants[] = {
    {"NULL", OP_NULL}, {"BOOLEAN", OP_BOOLEAN}, {"LONG", OP_LONG}, {"DOUBLE", OP_DOUBLE}, {"STRING", OP_STRING},
    {"BYTES", OP_BYTES}, {"ARRAY", OP_ARRAY}, {"MAP", OP_MAP}, {"UNION", OP_UNION}, {"RECORD", OP_RECORD},
    {"ENUM", OP_ENUM}, {"DATE", OP_DATE}, {"TIME", OP_TIME}, {"TIMEDELTA", OP_TIMEDELTA},
    {"TIMESTAMP", OP_TIMESTAMP}, {"UUID", OP_UUID}, {"DECIMAL", OP_DECIMAL}, {"FLOAT", OP_FLOAT},
    {"FIXED", OP_FIXED}, {"LONG_AS_DOUBLE", OP_LONG_AS_DOUBLE}, {"UUID_FIXED", OP_UUID_FIXED},
    {"CONVERT", OP_CONVERT}, {"REFUSE", OP_REFUSE}, {"SKIP_BYTES", OP_SKIP_BYTES}, {"SKIP_LONG", OP_SKIP_LONG},
    {"SKIP_STRING", OP_SKIP_STRING}, {"SKIP_ARRAY", OP_SKIP_ARRAY}, {"SKIP_MAP", OP_SKIP_MAP},
    {"SKIP_UNION", OP_SKIP_UNION}, {"SKIP_RECORD", OP_SKIP_RECORD}, {"SYMBOL", OP_SYMBOL},
    {"ALLOWED", OP_ALLOWED}, {"OPTIONAL", OP_OPTIONAL}, {"COLUMN", OP_COLUMN}, {"MAKE_DICT", MAKE_DICT},
    {"MAKE_FROM_DICT", MAKE_FROM_DICT}, {"MAKE_BY_CALL", MAKE_BY_CALL}, {"MAKE_DIRECTLY", MAKE_DIRECTLY},
    {"COLUMN_LONG", 0}, {"COLUMN_DOUBLE", 1}, {"COLUMN_FLOAT", 2}, {"COLUMN_BOOLEAN", 3}, {"COLUMN_TEXT", 4},
    {"COLUMN_BYTES", 5}, {"COLUMN_FIXED", 6}, {"MICROS", UNIT_MICROS}, {"MILLIS", UNIT_MILLIS}, {"NANOS", UNIT_NANOS},
};

int records_init(void);

static int
exec_module(PyObject *module)
{
    if (values_init() < 0 || decimals_init() < 0 || records_init() < 0 || PyModule_AddType(module, &DecoderType) < 0 ||
        PyModule_AddType(module, &EncoderType) < 0 || PyModule_AddType(module, &ColumnReaderType) < 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
        if (PyModule_AddIntConstant(module, constants[i].name, constants[i].value) < 0) {
            return -1;
        }
    }
    return 0;
}

static void
free_module(void *module)
{
    (void)module;
    text_clear();
    decimals_clear();
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, exec_module},
#if PY_VERSION_HEX >= 0x030C0000
    /* Classes and caches of one interpreter are kept in static variables. */
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_GIL_DISABLED
    /* The cache of keys, and lists and dicts being written, rely on the lock. */
    {Py_mod_gil, Py_MOD_GIL_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "ottla.serde.avro._codec",
    .m_doc = "The Avro codec in C. `ottla.serde.avro.extension` makes its programs.",
    .m_size = 0,
    .m_slots = slots,
    .m_free = free_module,
};

PyMODINIT_FUNC
PyInit__codec(void)
{
    return PyModuleDef_Init(&definition);
}
