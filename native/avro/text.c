/* Text: UTF-8 to str and back, and a cache of map keys, which come again and again. */
#include "codec.h"

/* Whether all bytes are below 0x80. */
static inline int
is_ascii(const uint8_t *s, Py_ssize_t n)
{
    uint64_t high = 0, word;
    while (n >= 8) {
        memcpy(&word, s, 8);
        high |= word;
        s += 8;
        n -= 8;
    }
    while (n-- > 0) {
        high |= *s++;
    }
    return (high & 0x8080808080808080ULL) == 0;
}

PyObject *
text_from_utf8(const uint8_t *s, Py_ssize_t n)
{
    /* Texts of no or one character are kept by the interpreter; whatever is not ASCII it decodes itself. */
    if (n < 2 || !is_ascii(s, n)) {
        return PyUnicode_DecodeUTF8((const char *)s, n, NULL);
    }
    PyObject *text = PyUnicode_New(n, 0x7f);
    if (LIKELY(text != NULL)) {
        memcpy(PyUnicode_1BYTE_DATA(text), s, (size_t)n);
    }
    return text;
}

/* Keys of maps and nothing else: their number is small, and a str that is there already has its hash too. */
#define KEYS 1024 /* a power of two */
#define KEY_SIZE_MAX 32
static PyObject *keys[KEYS];

PyObject *
key_from_utf8(const uint8_t *s, Py_ssize_t n)
{
    if (n < 2 || n > KEY_SIZE_MAX || !is_ascii(s, n)) {
        return text_from_utf8(s, n);
    }
    uint32_t hash = 2166136261u;
    for (Py_ssize_t i = 0; i < n; i++) {
        hash = (hash ^ s[i]) * 16777619u;
    }
    PyObject **place = &keys[(hash ^ hash >> 15) & (KEYS - 1)];
    PyObject *known = *place;
    if (known != NULL && PyUnicode_GET_LENGTH(known) == n && memcmp(PyUnicode_1BYTE_DATA(known), s, (size_t)n) == 0) {
        return Py_NewRef(known);
    }
    PyObject *key = text_from_utf8(s, n);
    if (key != NULL) {
        Py_XSETREF(*place, Py_NewRef(key));
    }
    return key;
}

void
text_clear(void)
{
    for (int i = 0; i < KEYS; i++) {
        Py_CLEAR(keys[i]);
    }
}

/* The bytes of a text that is not ASCII, at `out`, which has room for four for each character; NULL for half a
 * surrogate pair. */
static uint8_t *
utf8_of(PyObject *text, uint8_t *out)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    for (Py_ssize_t i = 0; i < n; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (c < 0x80) {
            *out++ = (uint8_t)c;
        }
        else if (c < 0x800) {
            *out++ = (uint8_t)(0xc0 | c >> 6);
            *out++ = (uint8_t)(0x80 | (c & 0x3f));
        }
        else if (c < 0x10000) {
            if (c >= 0xd800 && c < 0xe000) {
                return NULL;
            }
            *out++ = (uint8_t)(0xe0 | c >> 12);
            *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            *out++ = (uint8_t)(0x80 | (c & 0x3f));
        }
        else {
            *out++ = (uint8_t)(0xf0 | c >> 18);
            *out++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
            *out++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
            *out++ = (uint8_t)(0x80 | (c & 0x3f));
        }
    }
    return out;
}

int
write_text(Writer *w, PyObject *text)
{
    if (UNLIKELY(!PyUnicode_CheckExact(text))) {
        return -1;
    }
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    if (LIKELY(PyUnicode_IS_COMPACT_ASCII(text))) {
        if (UNLIKELY(reserve(w, (size_t)n + 10) < 0)) {
            return -1;
        }
        put_long(w, n);
        memcpy(w->p, PyUnicode_1BYTE_DATA(text), (size_t)n);
        w->p += n;
        return 0;
    }
    if (n > PY_SSIZE_T_MAX / 8 || reserve(w, (size_t)n * 4 + 20) < 0) {
        return -1;
    }
    /* The length in bytes comes first and is known last: the text goes behind the longest prefix and is moved. */
    uint8_t *text_start = w->p + 10;
    uint8_t *text_end = utf8_of(text, text_start);
    if (text_end == NULL) {
        return -1;
    }
    put_long(w, text_end - text_start);
    memmove(w->p, text_start, (size_t)(text_end - text_start));
    w->p += text_end - text_start;
    return 0;
}
