/* The same work through Intel's multi-buffer library (libIPSec_MB): several hashes in one instruction, wide AES-GCM.
 *
 * A `Lanes` is one manager of that library and the expanded key. Managers take long to make, so idle ones are kept; they
 * are taken and given back with the interpreter lock held, and used by one thread at a time without it.
 */

#pragma once

#include <intel-ipsec-mb.h>

#include "_sectors.h"

/* Fewer hashes than this are quicker one by one. */
enum { LANES_FROM = 4 };

/* Larger sectors are rare, and hashed one by one: `scratch` stays small. */
enum { LANE_LIMIT = 4096 + SEAL };

typedef struct {
    struct gcm_key_data key; /* first, since the library wants it aligned and does not say so */
    IMB_MGR *manager;
    unsigned char scratch[BATCH][PREFIX_LIMIT + INDEX + LANE_LIMIT];
} Lanes;

enum { IDLE_LIMIT = 4 };
static Lanes *idle_lanes[IDLE_LIMIT];
static int idle_count;
static int lanes_unknown; /* this processor is too old: do not ask again */

static void lanes_free(Lanes *lanes)
{
    if (lanes != NULL && lanes->manager != NULL)
        free_mb_mgr(lanes->manager);
    free(lanes);
}

static Lanes *lanes_make(void)
{
    IMB_ARCH found = IMB_ARCH_NONE;
    void *memory;
    if (posix_memalign(&memory, 64, sizeof(Lanes)) != 0)
        return NULL;
    Lanes *lanes = memory;
    lanes->manager = alloc_mb_mgr(0);
    if (lanes->manager != NULL)
        init_mb_mgr_auto(lanes->manager, &found);
    if (lanes->manager == NULL || imb_get_errno(lanes->manager) != 0 || found < IMB_ARCH_AVX) {
        lanes_unknown = 1;
        lanes_free(lanes);
        return NULL;
    }
    return lanes;
}

/* NULL: there are none here. */
static Lanes *lanes_take(const unsigned char *key)
{
    Lanes *lanes = NULL;
    if (idle_count > 0)
        lanes = idle_lanes[--idle_count];
    else if (!lanes_unknown)
        lanes = lanes_make();
    if (lanes != NULL)
        IMB_AES256_GCM_PRE(lanes->manager, key, &lanes->key);
    return lanes;
}

static void lanes_give_back(Lanes *lanes)
{
    if (lanes == NULL)
        return;
    imb_clear_mem(&lanes->key, sizeof(lanes->key));
    if (idle_count < IDLE_LIMIT)
        idle_lanes[idle_count++] = lanes;
    else
        lanes_free(lanes);
}

static int lanes_decrypt(Lanes *lanes, const Prefix *bound, const Sector *sector)
{
    struct gcm_context_data context;
    unsigned char tag[TAG];
    uint64_t size = (uint64_t)sector->in_size - SEAL;
    IMB_AES256_GCM_DEC(lanes->manager, &lanes->key, &context, sector->out, sector->in + NONCE, size, sector->in,
                       bound->bytes, (uint64_t)bound->size, tag, TAG);
    return CRYPTO_memcmp(tag, sector->in + NONCE + size, TAG) == 0;
}

static int lanes_encrypt(Lanes *lanes, const Prefix *bound, const Sector *sector)
{
    struct gcm_context_data context;
    uint64_t size = (uint64_t)sector->in_size;
    unsigned char *body = sector->out + NONCE;
    IMB_AES256_GCM_ENC(lanes->manager, &lanes->key, &context, body, sector->in, size, sector->out, bound->bytes,
                       (uint64_t)bound->size, body + size, TAG);
    return 1;
}

static int lanes_fit(const Sector *sectors, int count, int made)
{
    for (int at = 0; at < count; at++)
        if (stored_size(&sectors[at], made) > LANE_LIMIT)
            return 0;
    return 1;
}

static int lanes_hash(Lanes *lanes, Prefix *label, const Sector *sectors, int count, int made,
                      unsigned char digests[][DIGEST])
{
    IMB_JOB *job;
    int done = 0;
    for (int at = 0; at < count; at++) {
        size_t size = stored_size(&sectors[at], made);
        put_index(label, sectors[at].index);
        memcpy(lanes->scratch[at], label->bytes, (size_t)label->size);
        memcpy(lanes->scratch[at] + label->size, stored_of(&sectors[at], made), size);
        job = IMB_GET_NEXT_JOB(lanes->manager);
        memset(job, 0, sizeof(*job));
        job->cipher_mode = IMB_CIPHER_NULL;
        job->chain_order = IMB_ORDER_HASH_CIPHER;
        job->hash_alg = IMB_AUTH_SHA_256;
        job->src = lanes->scratch[at];
        job->msg_len_to_hash_in_bytes = (uint64_t)label->size + size;
        job->auth_tag_output = digests[at];
        job->auth_tag_output_len_in_bytes = DIGEST;
        for (job = IMB_SUBMIT_JOB(lanes->manager); job != NULL; job = IMB_GET_COMPLETED_JOB(lanes->manager))
            done += job->status == IMB_STATUS_COMPLETED;
    }
    while ((job = IMB_FLUSH_JOB(lanes->manager)) != NULL)
        done += job->status == IMB_STATUS_COMPLETED;
    return done == count ? 1 : -1;
}
