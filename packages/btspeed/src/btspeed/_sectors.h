/* What a sector is to the code that seals, opens and hashes it. */

#pragma once

#include <stdint.h>
#include <string.h>

enum { KEY = 32, NONCE = 12, TAG = 16, SEAL = NONCE + TAG, DIGEST = 32, INDEX = 8, PREFIX_LIMIT = 128 };

/* Sectors that are worked on together: their bytes stay in the nearest caches between hashing and opening. */
enum { BATCH = 32 };

typedef struct {
    uint64_t index;
    const unsigned char *in; /* the stored sector to open, or the plain one to seal */
    Py_ssize_t in_size;
    unsigned char *out;             /* the other of the two */
    unsigned char *digest;          /* sealing only */
    unsigned char expected[DIGEST]; /* opening only; a copy, for nobody holds the object that it is from */
} Sector;

/* Bytes that stand before an index, in what is hashed or bound to a seal. */
typedef struct {
    unsigned char bytes[PREFIX_LIMIT + INDEX];
    int size; /* with the index */
} Prefix;

static inline void set_prefix(Prefix *prefix, const char *bytes, Py_ssize_t size)
{
    memcpy(prefix->bytes, bytes, (size_t)size);
    prefix->size = (int)size + INDEX;
}

static inline void put_index(Prefix *prefix, uint64_t index)
{
    unsigned char *target = prefix->bytes + prefix->size - INDEX;
    for (int byte = 0; byte < INDEX; byte++)
        target[byte] = (unsigned char)(index >> (8 * byte));
}

/* The stored form: `made` says whether it was sealed here or given. */
static inline const unsigned char *stored_of(const Sector *sector, int made)
{
    return made ? sector->out : sector->in;
}

static inline size_t stored_size(const Sector *sector, int made)
{
    return (size_t)sector->in_size + (made ? SEAL : 0);
}
