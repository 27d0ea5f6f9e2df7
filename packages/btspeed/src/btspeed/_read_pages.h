/* What a `ReadTable` consists of: read by `_reads.c`, filled by `_read_table.c`. */

#pragma once

#include "_reads.h"

#include <pthread.h>

#include <openssl/evp.h>

#include "_sectors.h"

enum { PAGE_BITS = 8, PAGE = 1 << PAGE_BITS, PAGE_MASK = PAGE - 1, SLOTS = 1024, LEAST_BITS = 9, MOST_BITS = 14 };

_Static_assert(1 << MOST_BITS == READ_LIMIT, "a sector fits into an answer");

typedef struct File {
    struct File *next;
    EVP_CIPHER_CTX *cipher;
    uint64_t number, size;
    uint64_t expected; /* the sector with which a reader in sequence goes on */
    Prefix bound;
} File;

typedef struct {
    int64_t offset;
    int32_t length; /* 0: a hole, or not known */
    int32_t descriptor;
} Place;

typedef struct {
    File *file;
    uint64_t number;
    PyObject *hashes, *owners;
    const unsigned char *digests; /* the content of `hashes` */
    Place places[PAGE];
} Page;

struct ReadTable {
    PyObject_HEAD
    pthread_mutex_t mutex;
    EVP_MD_CTX *hash;
    File *files;
    Page *pages[SLOTS];
    uint64_t served;
    int bits;
    Prefix label;
};

static inline Page **slot_of(ReadTable *table, uint64_t file, uint64_t page)
{
    return &table->pages[(file + page) % SLOTS];
}
