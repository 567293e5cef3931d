/* The Avro codec in C: shared declarations.
 *
 * The Python codec (src/ottla/serde/avro) is the reference. This one executes the same plans for values and bytes that
 * are what they should be; at the first thing that is not, it gives up, and the caller runs the Python codec, which
 * finds the same fault and words the error. So there is one place where errors are made, and what C has to get right
 * is only: never accept what Python refuses, never read outside the buffer, never leak.
 */
#ifndef OTTLA_CODEC_H
#define OTTLA_CODEC_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SIZEOF_INT128__)
#define HAVE_INT128 1
typedef __int128 int128;
typedef unsigned __int128 uint128;
#endif

#if defined(__GNUC__) || defined(__clang__)
#define LIKELY(x) __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)
#define NOINLINE __attribute__((noinline))
#else
#define LIKELY(x) (x)
#define UNLIKELY(x) (x)
#define NOINLINE
#endif

/* How often a value may contain itself; the same number as faults.DEPTH_MAX. */
#define DEPTH_MAX 256
/* How many compound values may lie inside each other in all. Beyond it Python decides. It bounds the C stack: a record
 * takes some 400 bytes, so 1000 fit wherever threads have a megabyte; musl gives them an eighth of that. */
#if defined(__linux__) && !defined(__GLIBC__)
#define NESTING_MAX 150
#else
#define NESTING_MAX 1000
#endif
/* Items that take no byte; the same number as varint.EMPTY_ITEMS_MAX. */
#define EMPTY_ITEMS_MAX 64

/* What a node of a program does. The names are exported to Python, which writes programs with them. */
typedef enum {
    /* reading and writing */
    OP_NULL = 1,
    OP_BOOLEAN,
    OP_LONG,
    OP_DOUBLE,
    OP_STRING,
    OP_BYTES,
    OP_ARRAY,
    OP_MAP,
    OP_UNION,
    OP_RECORD,
    OP_ENUM,
    OP_DATE,
    OP_TIME,
    OP_TIMEDELTA,
    OP_TIMESTAMP,
    OP_UUID,
    OP_DECIMAL,
    /* reading only */
    OP_FLOAT,
    OP_FIXED,
    OP_LONG_AS_DOUBLE,
    OP_UUID_FIXED,
    OP_CONVERT,
    OP_REFUSE,
    OP_SKIP_BYTES,
    OP_SKIP_LONG,
    OP_SKIP_STRING,
    OP_SKIP_ARRAY,
    OP_SKIP_MAP,
    OP_SKIP_UNION,
    OP_SKIP_RECORD,
    /* writing only */
    OP_SYMBOL,
    OP_ALLOWED,
    OP_OPTIONAL,
    /* columns only */
    OP_COLUMN
} Op;

/* How a record's object comes about. */
typedef enum { MAKE_DICT = 0, MAKE_FROM_DICT, MAKE_BY_CALL, MAKE_DIRECTLY } Make;

/* Units of timestamps and times. */
enum { UNIT_MICROS = 0, UNIT_MILLIS, UNIT_NANOS };

/* A field of a class whose instances are filled without a constructor, or read without a descriptor. */
typedef struct {
    PyObject *name;    /* the attribute, interned */
    Py_ssize_t offset; /* of its slot in the instance; 0 for none */
    int slot;          /* which value read from the bytes; -1 for the default */
    PyObject *value;   /* the default; NULL for none */
    PyObject *factory; /* what makes the default; NULL for none */
} Target;

typedef struct Node {
    uint8_t op;
    uint8_t make;      /* records: Make; arrays: which container; timestamps: unit */
    uint8_t flag;      /* records: contains itself; arrays: items take no byte; timestamps: local; direct: post_init */
    int n;             /* how many kids, symbols */
    int64_t size;      /* fixed, decimals: bytes (-1: none); records: number of values; optional: branch of null */
    int scale;         /* decimals; records: positional arguments */
    int precision;     /* decimals */
    struct Node **kids;
    int *slots;        /* records: where a kid's value goes; unions to write: not used */
    int n_objects;
    PyObject **objects; /* enums: values; unions to write: classes; records: names */
    PyObject *object;   /* class, callable, table */
    PyObject *names;    /* records by call: keyword names */
    int n_targets;
    Target *targets;
} Node;

typedef struct {
    int count;
    Node *nodes; /* nodes[0] is the root */
} Program;

/* program.c */
int program_parse(Program *program, PyObject *spec);
void program_clear(Program *program);
int program_visit(Program *program, visitproc visit, void *arg);

/* -- reading -- */

typedef struct {
    const uint8_t *p;
    const uint8_t *end;
    int depth;
    int nesting;
} Reader;

/* All of these give NULL (or -1) both for a Python exception and, without one set, for bytes that are not right. */
PyObject *read_value(Reader *r, const Node *node);
int skip_value(Reader *r, const Node *node);
PyObject *make_record(Reader *r, const Node *node);
int64_t read_block_count(Reader *r, int empty_items, int *fine);

int read_long_slow(Reader *r, int64_t *out);

/* A whole number: zigzag, seven bits a byte. 0 for success. */
static inline int
read_long(Reader *r, int64_t *out)
{
    if (LIKELY(r->p < r->end) && LIKELY(*r->p < 0x80)) {
        uint8_t b = *r->p++;
        *out = (int64_t)(b >> 1) ^ -(int64_t)(b & 1);
        return 0;
    }
    return read_long_slow(r, out);
}

/* A length, checked against what is left. */
static inline int
read_length(Reader *r, Py_ssize_t *out)
{
    int64_t n;
    if (UNLIKELY(read_long(r, &n) < 0) || UNLIKELY(n < 0) || UNLIKELY(n > r->end - r->p)) {
        return -1;
    }
    *out = (Py_ssize_t)n;
    return 0;
}

/* -- writing -- */

typedef struct {
    uint8_t *start;
    uint8_t *p;
    uint8_t *end;
    uint8_t *heap; /* NULL while the caller's own buffer is enough */
    int depth;
    int nesting;
} Writer;

int writer_grow(Writer *w, size_t more);
int write_value(Writer *w, const Node *node, PyObject *value);

static inline int
reserve(Writer *w, size_t more)
{
    return LIKELY((size_t)(w->end - w->p) >= more) ? 0 : writer_grow(w, more);
}

/* Needs ten bytes reserved. */
static inline void
put_long(Writer *w, int64_t n)
{
    uint64_t z = ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
    while (z > 0x7f) {
        *w->p++ = (uint8_t)(z | 0x80);
        z >>= 7;
    }
    *w->p++ = (uint8_t)z;
}

static inline int
write_long(Writer *w, int64_t n)
{
    if (UNLIKELY(reserve(w, 10) < 0)) {
        return -1;
    }
    put_long(w, n);
    return 0;
}

/* text.c */
PyObject *text_from_utf8(const uint8_t *s, Py_ssize_t n);
PyObject *key_from_utf8(const uint8_t *s, Py_ssize_t n);
int write_text(Writer *w, PyObject *text);
void text_clear(void);

/* logical.c: Python values of logical types. `values_init` once, when the module is loaded. */
int values_init(void);
PyObject *timestamp_value(int64_t n, int unit, int local);
PyObject *date_value(int64_t days);
PyObject *time_value(int64_t n, int unit);
PyObject *timedelta_value(int64_t micros);
PyObject *uuid_from_text(const uint8_t *s, Py_ssize_t n);
PyObject *uuid_from_bytes(const uint8_t *s);
int write_timestamp(Writer *w, PyObject *value, int unit);
int write_date(Writer *w, PyObject *value);
int write_time(Writer *w, PyObject *value, int unit);
int write_timedelta(Writer *w, PyObject *value);
int write_uuid(Writer *w, PyObject *value);

/* decimals.c */
int decimals_init(void);
void decimals_clear(void);
PyObject *decimal_value(const uint8_t *s, Py_ssize_t n, const Node *node);
int write_decimal(Writer *w, const Node *node, PyObject *value);

/* Types of the module. */
extern PyTypeObject DecoderType;
extern PyTypeObject EncoderType;
extern PyTypeObject ColumnReaderType;

/* decoder.c: what a failed attempt means: 1 if Python's codec is to decide, 0 if the exception stands. */
int python_decides(void);
void note_index(Py_ssize_t i);
PyObject *slot_offset(PyObject *cls, PyObject *name, Py_ssize_t *offset);

/* PyMemberDef's type of a slot, under both of its names. */
#if PY_VERSION_HEX >= 0x030C0000
#define OBJECT_SLOT Py_T_OBJECT_EX
#else
#include <structmember.h>
#define OBJECT_SLOT T_OBJECT_EX
#endif

#endif
