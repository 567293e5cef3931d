/* Decimals: their unscaled whole number in two's complement. CPython offers C no way into a Decimal, so they pass
 * through text, which is exact and independent of the caller's context. */
#include "codec.h"

static PyTypeObject *decimal_type;

int
decimals_init(void)
{
    PyObject *module = PyImport_ImportModule("decimal");
    if (module == NULL) {
        return -1;
    }
    decimal_type = (PyTypeObject *)PyObject_GetAttrString(module, "Decimal");
    Py_DECREF(module);
    return decimal_type ? 0 : -1;
}

#ifdef HAVE_INT128

#define SCALE_MAX 60

/* Amounts come again and again, and no value takes as long to make as a Decimal: those made last are kept. */
#define KEPT 1024 /* a power of two */
static struct {
    uint64_t number;
    int scale;
    PyObject *value;
} kept[KEPT];

static PyObject *
decimal_from_number(uint128 number, int negative, int scale);

/* The Decimal of a number of at most eight bytes in two's complement. */
static PyObject *
kept_decimal(uint64_t number, int negative, int scale)
{
    size_t place = (size_t)(number * 0x9e3779b97f4a7c15ULL >> 54) & (KEPT - 1);
    if (kept[place].value != NULL && kept[place].number == number && kept[place].scale == scale) {
        return Py_NewRef(kept[place].value);
    }
    PyObject *value = decimal_from_number(negative ? -(uint128)(int64_t)number : number, negative, scale);
    if (value != NULL) {
        PyObject *before = kept[place].value;
        kept[place].number = number;
        kept[place].scale = scale;
        kept[place].value = Py_NewRef(value);
        Py_XDECREF(before);
    }
    return value;
}

void
decimals_clear(void)
{
    for (int i = 0; i < KEPT; i++) {
        Py_CLEAR(kept[i].value);
    }
}

PyObject *
decimal_value(const uint8_t *s, Py_ssize_t n, const Node *node)
{
    if (n > node->precision) {
        return NULL; /* far longer than the schema's precision: not even to be looked at */
    }
    if (n > 16 || n == 0 || node->scale > SCALE_MAX) {
        PyObject *data = PyBytes_FromStringAndSize((const char *)s, n);
        if (data == NULL) {
            return NULL;
        }
        PyObject *value = PyObject_CallOneArg(node->object, data);
        Py_DECREF(data);
        return value;
    }
    uint128 number = s[0] & 0x80 ? ~(uint128)0 : 0;
    for (Py_ssize_t i = 0; i < n; i++) {
        number = number << 8 | s[i];
    }
    int negative = s[0] >> 7;
    if (n <= 8) {
        return kept_decimal((uint64_t)number, negative, node->scale);
    }
    return decimal_from_number(negative ? -number : number, negative, node->scale);
}

/* The Decimal of a magnitude and its sign. */
static PyObject *
decimal_from_number(uint128 number, int negative, int scale)
{
    /* From the end: digits behind the point, the point, at least one digit in front of it, the sign. */
    uint8_t text[SCALE_MAX + 48], *end = text + sizeof(text), *p = end;
    uint64_t small = (uint64_t)number;
    int digits = 0;
    while (digits <= scale || number != 0) {
        if (digits == scale && scale > 0) {
            *--p = '.';
        }
        if (number >> 64) {
            *--p = (uint8_t)('0' + (int)(number % 10));
            number /= 10;
            small = (uint64_t)number;
        }
        else {
            *--p = (uint8_t)('0' + small % 10);
            small /= 10;
            number = small;
        }
        digits++;
    }
    if (negative) {
        *--p = '-';
    }
    PyObject *text_object = text_from_utf8(p, end - p);
    if (text_object == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_CallOneArg((PyObject *)decimal_type, text_object);
    Py_DECREF(text_object);
    return value;
}

/* What str(Decimal) says: digits, perhaps a point, perhaps an exponent. 0 for success. */
static int
parse(const uint8_t *s, const uint8_t *end, uint128 *number, int *exponent)
{
    int digits = 0, point = 0, places = 0, power = 0, negative = 0;
    *number = 0;
    for (; s < end && *s != 'E'; s++) {
        if (*s == '.') {
            point = 1;
            continue;
        }
        if (*s < '0' || *s > '9') {
            return -1; /* NaN, infinity */
        }
        digits += digits > 0 || *s != '0';
        places += point;
        if (digits > 38) {
            return -1;
        }
        *number = *number * 10 + (uint128)(*s - '0');
    }
    if (s < end && ++s < end) {
        negative = *s == '-';
        for (s += negative || *s == '+'; s < end; s++) {
            power = power * 10 + (*s - '0');
            if (power > 10000) {
                return -1;
            }
        }
    }
    *exponent = (negative ? -power : power) - places;
    return 0;
}

/* The whole number that a text such as "-12.50" means at a scale. -1 if it cannot be written exactly. */
static int
unscaled(PyObject *text, int scale, int precision, int *negative, uint128 *out)
{
    if (!PyUnicode_IS_COMPACT_ASCII(text)) {
        return -1;
    }
    const uint8_t *s = PyUnicode_1BYTE_DATA(text), *end = s + PyUnicode_GET_LENGTH(text);
    uint128 number, limit = 1;
    int exponent;
    *negative = *s == '-';
    if (parse(s + *negative, end, &number, &exponent) < 0) {
        return -1;
    }
    for (int i = 0; i < precision && i < 38; i++) {
        limit *= 10;
    }
    exponent += scale;
    if (number == 0) {
        exponent = 0;
    }
    for (; exponent < 0; exponent++) {
        if (number % 10 != 0) {
            return -1; /* would have to be rounded */
        }
        number /= 10;
    }
    for (; exponent > 0; exponent--) {
        if (number >= limit) {
            return -1;
        }
        number *= 10;
    }
    *out = number;
    return number < limit ? 0 : -1;
}

int
write_decimal(Writer *w, const Node *node, PyObject *value)
{
    if (!Py_IS_TYPE(value, decimal_type)) {
        return -1;
    }
    PyObject *text = PyObject_Str(value);
    if (text == NULL) {
        return -1;
    }
    int negative;
    uint128 number;
    int failed = unscaled(text, node->scale, node->precision, &negative, &number);
    Py_DECREF(text);
    if (failed || reserve(w, 20) < 0) {
        return -1;
    }
    uint64_t high = (uint64_t)(number >> 64), low = (uint64_t)number;
    int bits = high ? 128 - __builtin_clzll(high) : low ? 64 - __builtin_clzll(low) : 0;
    int size = (bits + 8) >> 3;
    uint128 complement = negative ? -number : number;
    put_long(w, size);
    for (int i = size - 1; i >= 0; i--) {
        *w->p++ = (uint8_t)(complement >> (8 * i));
    }
    return 0;
}

#else /* a compiler without numbers of 128 bits */

void
decimals_clear(void)
{
}

PyObject *
decimal_value(const uint8_t *s, Py_ssize_t n, const Node *node)
{
    if (n > node->precision) {
        return NULL;
    }
    PyObject *data = PyBytes_FromStringAndSize((const char *)s, n);
    if (data == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_CallOneArg(node->object, data);
    Py_DECREF(data);
    return value;
}

int
write_decimal(Writer *w, const Node *node, PyObject *value)
{
    PyObject *data = Py_IS_TYPE(value, decimal_type) ? PyObject_CallOneArg(node->object, value) : NULL;
    if (data == NULL) {
        return -1;
    }
    Py_ssize_t n = PyBytes_Check(data) ? PyBytes_GET_SIZE(data) : -1;
    int failed = n < 0 || reserve(w, (size_t)n + 10) < 0;
    if (!failed) {
        put_long(w, n);
        memcpy(w->p, PyBytes_AS_STRING(data), (size_t)n);
        w->p += n;
    }
    Py_DECREF(data);
    return failed ? -1 : 0;
}

#endif
