/* Serving from a `ReadTable`: a range inside one sector, without the interpreter lock, under the mutex of the table.
 *
 * A sector is compared with its hash, then opened, then given. Whatever is not known, not right or not a single sector
 * of a reader here and there is declined, and the caller asks Python, which says what is wrong. Someone who reads in
 * sequence is declined too, for Python reads ahead.
 */

#include "_read_pages.h"

#include <string.h>
#include <unistd.h>

#include <openssl/crypto.h>

static int is_hashed_so(ReadTable *table, uint64_t index, const unsigned char *stored, size_t size,
                        const unsigned char *expected)
{
    unsigned char digest[DIGEST];
    put_index(&table->label, index);
    return EVP_DigestInit_ex2(table->hash, NULL, NULL) == 1 &&
           EVP_DigestUpdate(table->hash, table->label.bytes, (size_t)table->label.size) == 1 &&
           EVP_DigestUpdate(table->hash, stored, size) == 1 && EVP_DigestFinal_ex(table->hash, digest, NULL) == 1 &&
           CRYPTO_memcmp(digest, expected, DIGEST) == 0;
}

static int opens(File *file, uint64_t index, unsigned char *stored, int size, unsigned char *out)
{
    int length;
    unsigned char *body = stored + NONCE;
    put_index(&file->bound, index);
    return EVP_DecryptInit_ex2(file->cipher, NULL, NULL, stored, NULL) == 1 &&
           EVP_DecryptUpdate(file->cipher, NULL, &length, file->bound.bytes, file->bound.size) == 1 &&
           EVP_DecryptUpdate(file->cipher, out, &length, body, size) == 1 &&
           EVP_CIPHER_CTX_ctrl(file->cipher, EVP_CTRL_AEAD_SET_TAG, TAG, body + size) == 1 &&
           EVP_DecryptFinal_ex(file->cipher, out + size, &length) == 1;
}

/* How many bytes the sector has; -1 where it is not to be had here. */
static int load(ReadTable *table, Page *page, uint64_t index, unsigned char *room)
{
    unsigned char stored[READ_LIMIT + SEAL];
    const Place *place = &page->places[index & PAGE_MASK];
    int size = place->length - SEAL;
    if (size < 0 || pread(place->descriptor, stored, (size_t)place->length, place->offset) != place->length ||
        !is_hashed_so(table, index, stored, (size_t)place->length, page->digests + (index & PAGE_MASK) * DIGEST) ||
        !opens(page->file, index, stored, size, room))
        return -1;
    return size;
}

static const unsigned char *serve(ReadTable *table, uint64_t number, uint64_t offset, uint32_t size,
                                  unsigned char *room)
{
    uint64_t first = offset >> table->bits, within = offset - (first << table->bits);
    Page *page = *slot_of(table, number, first >> PAGE_BITS);
    if (page == NULL || page->file->number != number || page->number != first >> PAGE_BITS)
        return NULL;
    File *file = page->file;
    if (size == 0 || offset >= file->size || size > file->size - offset)
        return NULL;
    uint64_t last = (offset + size - 1) >> table->bits, expected = file->expected;
    file->expected = last + 1;
    if (first != last || first == expected || first + 1 == expected)
        return NULL;
    int length = load(table, page, first, room);
    if (length < 0 || within + size > (uint64_t)length)
        return NULL;
    table->served++;
    return room + within;
}

const unsigned char *reads_serve(ReadTable *table, uint64_t file, uint64_t offset, uint32_t size,
                                 unsigned char room[READ_LIMIT])
{
    pthread_mutex_lock(&table->mutex);
    const unsigned char *found = serve(table, file, offset, size, room);
    pthread_mutex_unlock(&table->mutex);
    return found;
}
