/* What seals, opens and hashes sectors of one key: OpenSSL, or Intel's multi-buffer library where it is there.
 *
 * An engine is made and given back with the interpreter lock held, and used by one thread at a time without it.
 */

#pragma once

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "_sectors.h"
#ifdef HAVE_IPSEC_MB
#include "_many_lanes.h"
#endif

static EVP_CIPHER *aes_gcm;
static EVP_MD *sha256;

typedef struct {
    EVP_CIPHER_CTX *cipher;
    EVP_MD_CTX *hash;
    Prefix bound;
    Prefix label;
#ifdef HAVE_IPSEC_MB
    Lanes *lanes; /* NULL: this processor has none */
#endif
} Engine;

static int hash_one(Engine *engine, const Sector *sector, const unsigned char *stored, size_t size,
                    unsigned char *digest)
{
    put_index(&engine->label, sector->index);
    return EVP_DigestInit_ex2(engine->hash, sha256, NULL) == 1 &&
           EVP_DigestUpdate(engine->hash, engine->label.bytes, (size_t)engine->label.size) == 1 &&
           EVP_DigestUpdate(engine->hash, stored, size) == 1 && EVP_DigestFinal_ex(engine->hash, digest, NULL) == 1;
}

/* 1: done; 0: it does not open; -1: OpenSSL failed. */
static int decrypt(Engine *engine, const Sector *sector)
{
    int length, size = (int)sector->in_size - SEAL;
    const unsigned char *body = sector->in + NONCE, *tag = body + size;

    put_index(&engine->bound, sector->index);
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL)
        return lanes_decrypt(engine->lanes, &engine->bound, sector);
#endif
    if (EVP_DecryptInit_ex2(engine->cipher, NULL, NULL, sector->in, NULL) != 1 ||
        EVP_DecryptUpdate(engine->cipher, NULL, &length, engine->bound.bytes, engine->bound.size) != 1 ||
        EVP_DecryptUpdate(engine->cipher, sector->out, &length, body, size) != 1 ||
        EVP_CIPHER_CTX_ctrl(engine->cipher, EVP_CTRL_AEAD_SET_TAG, TAG, (void *)tag) != 1)
        return -1;
    return EVP_DecryptFinal_ex(engine->cipher, sector->out + size, &length) == 1;
}

/* `out` begins with the nonce already. 1: done; -1: OpenSSL failed. */
static int encrypt(Engine *engine, const Sector *sector)
{
    int length, size = (int)sector->in_size;
    unsigned char *body = sector->out + NONCE;

    put_index(&engine->bound, sector->index);
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL)
        return lanes_encrypt(engine->lanes, &engine->bound, sector);
#endif
    if (EVP_EncryptInit_ex2(engine->cipher, NULL, NULL, sector->out, NULL) != 1 ||
        EVP_EncryptUpdate(engine->cipher, NULL, &length, engine->bound.bytes, engine->bound.size) != 1 ||
        EVP_EncryptUpdate(engine->cipher, body, &length, sector->in, size) != 1 ||
        EVP_EncryptFinal_ex(engine->cipher, body + size, &length) != 1 ||
        EVP_CIPHER_CTX_ctrl(engine->cipher, EVP_CTRL_AEAD_GET_TAG, TAG, body + size) != 1)
        return -1;
    return 1;
}

/* The hashes of up to BATCH stored sectors: those that were given, or those that were made. 1: done; -1: OpenSSL failed. */
static int hash_batch(Engine *engine, const Sector *sectors, int count, int made, unsigned char digests[][DIGEST])
{
#ifdef HAVE_IPSEC_MB
    if (engine->lanes != NULL && count >= LANES_FROM && lanes_fit(sectors, count, made))
        return lanes_hash(engine->lanes, &engine->label, sectors, count, made, digests);
#endif
    for (int at = 0; at < count; at++)
        if (!hash_one(engine, &sectors[at], stored_of(&sectors[at], made), stored_size(&sectors[at], made), digests[at]))
            return -1;
    return 1;
}

static int open_batch(Engine *engine, const Sector *sectors, int count)
{
    unsigned char digests[BATCH][DIGEST];
    int done = hash_batch(engine, sectors, count, 0, digests);
    for (int at = 0; done == 1 && at < count; at++)
        done = CRYPTO_memcmp(digests[at], sectors[at].expected, DIGEST) == 0;
    for (int at = 0; done == 1 && at < count; at++)
        done = decrypt(engine, &sectors[at]);
    return done;
}

static int seal_batch(Engine *engine, const Sector *sectors, int count)
{
    unsigned char digests[BATCH][DIGEST];
    int done = 1;
    for (int at = 0; done == 1 && at < count; at++)
        done = encrypt(engine, &sectors[at]);
    if (done == 1)
        done = hash_batch(engine, sectors, count, 1, digests);
    for (int at = 0; done == 1 && at < count; at++)
        memcpy(sectors[at].digest, digests[at], DIGEST);
    return done;
}

static int digest_batch(Engine *engine, const Sector *sectors, int count)
{
    unsigned char digests[BATCH][DIGEST];
    int done = hash_batch(engine, sectors, count, 0, digests);
    for (int at = 0; done == 1 && at < count; at++)
        memcpy(sectors[at].digest, digests[at], DIGEST);
    return done;
}

/* What all functions are given to make an engine of. */
typedef struct {
    const char *key, *bound, *label;
    Py_ssize_t key_size, bound_size, label_size;
} Keys;

/* False with an exception set. */
static int prepare(Engine *engine, int encrypt, const Keys *keys)
{
    if (keys->key_size != KEY || keys->bound_size > PREFIX_LIMIT || keys->label_size > PREFIX_LIMIT) {
        PyErr_SetString(PyExc_ValueError, "a key has 32 bytes, and what is bound to it at most 128");
        return 0;
    }
    set_prefix(&engine->bound, keys->bound, keys->bound_size);
    set_prefix(&engine->label, keys->label, keys->label_size);
    engine->hash = EVP_MD_CTX_new();
    if (engine->hash == NULL) {
        PyErr_NoMemory();
        return 0;
    }
#ifdef HAVE_IPSEC_MB
    engine->lanes = lanes_take((const unsigned char *)keys->key);
    if (engine->lanes != NULL)
        return 1;
#endif
    engine->cipher = EVP_CIPHER_CTX_new();
    if (engine->cipher == NULL ||
        EVP_CipherInit_ex2(engine->cipher, aes_gcm, (const unsigned char *)keys->key, NULL, encrypt, NULL) != 1) {
        PyErr_SetString(PyExc_RuntimeError, "OpenSSL has no AES-256-GCM here");
        return 0;
    }
    return 1;
}

static void clear(Engine *engine)
{
    EVP_CIPHER_CTX_free(engine->cipher); /* wipes the key */
    EVP_MD_CTX_free(engine->hash);
#ifdef HAVE_IPSEC_MB
    lanes_give_back(engine->lanes);
#endif
}
