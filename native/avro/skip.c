/* Passing over what the reader does not want: moves the reader and builds nothing. */
#include "codec.h"

static int
skip_blocks(Reader *r, const Node *node, int keyed)
{
    for (;;) {
        int64_t n, size;
        if (read_long(r, &n) < 0) {
            return -1;
        }
        if (n == 0) {
            return 0;
        }
        if (n < 0) {
            if (read_long(r, &size) < 0 || size < 0 || size > r->end - r->p) {
                return -1;
            }
            r->p += size;
            continue;
        }
        if (node->flag && !keyed) {
            continue; /* items that take no byte */
        }
        /* Every item takes a byte or more, so a hostile count ends with the bytes. */
        while (n-- > 0) {
            Py_ssize_t length;
            if (keyed) {
                if (read_length(r, &length) < 0) {
                    return -1;
                }
                r->p += length;
            }
            if (skip_value(r, node->kids[0]) < 0) {
                return -1;
            }
        }
    }
}

static int
skip_compound(Reader *r, const Node *node)
{
    int64_t n;
    switch (node->op) {
        case OP_SKIP_ARRAY:
            return skip_blocks(r, node, 0);
        case OP_SKIP_MAP:
            return skip_blocks(r, node, 1);
        case OP_SKIP_UNION:
            if (read_long(r, &n) < 0 || n < 0 || n >= node->n) {
                return -1;
            }
            return skip_value(r, node->kids[n]);
        default:
            for (int i = 0; i < node->n; i++) {
                if (skip_value(r, node->kids[i]) < 0) {
                    return -1;
                }
            }
            return 0;
    }
}

int
skip_value(Reader *r, const Node *node)
{
    int64_t n;
    Py_ssize_t size;
    switch (node->op) {
        case OP_SKIP_LONG:
            return read_long(r, &n);
        case OP_SKIP_STRING:
            if (read_length(r, &size) < 0) {
                return -1;
            }
            r->p += size;
            return 0;
        case OP_SKIP_BYTES:
            if (node->size > r->end - r->p) {
                return -1;
            }
            r->p += node->size;
            return 0;
        case OP_SKIP_ARRAY:
        case OP_SKIP_MAP:
        case OP_SKIP_UNION:
        case OP_SKIP_RECORD: {
            int itself = node->op == OP_SKIP_RECORD && node->flag;
            if (++r->nesting > NESTING_MAX || (itself && r->depth++ > DEPTH_MAX)) {
                return -1; /* given up for good: nobody counts down any more */
            }
            int failed = skip_compound(r, node);
            r->depth -= itself;
            r->nesting--;
            return failed;
        }
        default:
            return -1;
    }
}
