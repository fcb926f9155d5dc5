/* BLAKE3 of many blobs in one call, written from its specification: unkeyed, 32 bytes each.
 *
 * Chunks of all blobs go through sixteen lanes side by side, whichever blob they are of, and then
 * the parents of all of them, level by level. So thousands of small files cost as little a byte as
 * a large one. Only floor.c includes this; limpet.snapshots.native.plain has the same in Python. */
#define LANES 16
#define CHUNK 1024
#define BLOCK 64
#define HASH 32
enum { CHUNK_START = 1, CHUNK_END = 2, PARENT = 4, ROOT = 8 };

typedef uint32_t lanes __attribute__((vector_size(4 * LANES)));

static const uint32_t IV[8] = {
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
};

/* One chunk, or one parent, which is a single block. */
struct piece {
    const uint8_t *at;
    uint8_t *out;
    uint64_t counter;
    uint32_t left;
    uint32_t begun; /* flags of its first block, none after that */
    uint32_t ended; /* flags of its last block */
};

#define TURN(x, n) (((x) >> (n)) | ((x) << (32 - (n))))
#define MIX(a, b, c, d, x, y)                                                                       \
    v[a] += v[b] + m[x];                                                                           \
    v[d] = TURN(v[d] ^ v[a], 16);                                                                  \
    v[c] += v[d];                                                                                  \
    v[b] = TURN(v[b] ^ v[c], 12);                                                                  \
    v[a] += v[b] + m[y];                                                                           \
    v[d] = TURN(v[d] ^ v[a], 8);                                                                   \
    v[c] += v[d];                                                                                  \
    v[b] = TURN(v[b] ^ v[c], 7);
#define ROUND(i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, ia, ib, ic, id, ie, if_)                     \
    MIX(0, 4, 8, 12, i0, i1)                                                                       \
    MIX(1, 5, 9, 13, i2, i3)                                                                       \
    MIX(2, 6, 10, 14, i4, i5)                                                                      \
    MIX(3, 7, 11, 15, i6, i7)                                                                      \
    MIX(0, 5, 10, 15, i8, i9)                                                                      \
    MIX(1, 6, 11, 12, ia, ib)                                                                      \
    MIX(2, 7, 8, 13, ic, id)                                                                       \
    MIX(3, 4, 9, 14, ie, if_)

#define LOW 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define HIGH 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#ifdef __clang__
#define ZIP(a, b, half) __builtin_shufflevector(a, b, half)
#else
#define ZIP(a, b, half) __builtin_shuffle(a, b, (lanes){half})
#endif
/* Four times zipped, rows are columns. */
#define ZIP_ALL(to, from)                                                                          \
    for (int i = 0; i < 8; i++) {                                                                  \
        to[2 * i] = ZIP(from[i], from[i + 8], LOW);                                                \
        to[2 * i + 1] = ZIP(from[i], from[i + 8], HIGH);                                           \
    }

/* Compress every piece to its 32 bytes. A parent's may lie where the first child of an earlier or
 * the same parent was: all lanes are read before any is written, and pieces begin in their order. */
static inline __attribute__((always_inline)) void through_lanes(struct piece *pieces,
                                                                size_t count) {
    struct piece *in[LANES] = {0};
    lanes rows[LANES], cv[8], v[16], m[16], counter_low = {0}, counter_high = {0}, length = {0}, flags = {0};
    size_t begun = 0, ended = 0;
    memset(cv, 0, sizeof cv);
    memset(rows, 0, sizeof rows);
    while (ended < count) {
        for (int lane = 0; lane < LANES; lane++) {
            struct piece *piece = in[lane];
            if (!piece) {
                if (begun == count) continue;
                in[lane] = piece = &pieces[begun++];
                for (int i = 0; i < 8; i++) cv[i][lane] = IV[i];
                counter_low[lane] = (uint32_t)piece->counter;
                counter_high[lane] = (uint32_t)(piece->counter >> 32);
            }
            uint32_t some = piece->left < BLOCK ? piece->left : BLOCK;
            if (some == BLOCK) {
                memcpy(&rows[lane], piece->at, BLOCK);
            } else {
                memset(&rows[lane], 0, BLOCK);
                memcpy(&rows[lane], piece->at, some);
            }
            piece->at += some;
            piece->left -= some;
            length[lane] = some;
            flags[lane] = piece->begun | (piece->left ? 0 : piece->ended);
            piece->begun = 0;
        }
        ZIP_ALL(v, rows)
        ZIP_ALL(m, v)
        ZIP_ALL(v, m)
        ZIP_ALL(m, v)
        for (int i = 0; i < 8; i++) v[i] = cv[i];
        for (int i = 0; i < 4; i++) v[8 + i] = (lanes){0} + IV[i];
        v[12] = counter_low;
        v[13] = counter_high;
        v[14] = length;
        v[15] = flags;
        ROUND(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
        ROUND(2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
        ROUND(3, 4, 10, 12, 13, 2, 7, 14, 6, 5, 9, 0, 11, 15, 8, 1)
        ROUND(10, 7, 12, 9, 14, 3, 13, 15, 4, 0, 11, 2, 5, 8, 1, 6)
        ROUND(12, 13, 9, 11, 15, 10, 14, 8, 7, 2, 5, 3, 0, 1, 6, 4)
        ROUND(9, 14, 11, 5, 8, 12, 15, 1, 13, 3, 0, 10, 2, 6, 4, 7)
        ROUND(11, 15, 5, 0, 1, 9, 8, 6, 14, 10, 2, 12, 3, 4, 7, 13)
        for (int i = 0; i < 8; i++) cv[i] = v[i] ^ v[8 + i];
        for (int lane = 0; lane < LANES; lane++) {
            struct piece *piece = in[lane];
            if (!piece || piece->left) continue;
            for (int i = 0; i < 8; i++) {
                uint32_t word = cv[i][lane];
                memcpy(piece->out + 4 * i, &word, 4);
            }
            in[lane] = NULL;
            ended++;
        }
    }
}

static void through_any_lanes(struct piece *pieces, size_t count) { through_lanes(pieces, count); }

#if defined(__x86_64__) && defined(__GNUC__) && !defined(PORTABLE_HASHES)
__attribute__((target("avx2"))) static void through_avx2(struct piece *pieces, size_t count) {
    through_lanes(pieces, count);
}
__attribute__((target("avx512f"))) static void through_avx512(struct piece *pieces, size_t count) {
    through_lanes(pieces, count);
}
static void compress_all(struct piece *pieces, size_t count) {
    if (__builtin_cpu_supports("avx512f")) through_avx512(pieces, count);
    else if (__builtin_cpu_supports("avx2")) through_avx2(pieces, count);
    else through_any_lanes(pieces, count);
}
#else
static void compress_all(struct piece *pieces, size_t count) { through_any_lanes(pieces, count); }
#endif

static uint64_t chunks_of(uint64_t length) { return length ? (length + CHUNK - 1) / CHUNK : 1; }

/* 0, or ENOMEM. The hash of blob i goes to out + 32 * i. */
static int hash_all(uint64_t count, const uint8_t *data, const uint64_t *offsets,
                    const uint64_t *lengths, uint8_t *out) {
    uint64_t chunks = 0;
    for (uint64_t i = 0; i < count; i++) chunks += chunks_of(lengths[i]);
    struct piece *pieces = malloc((size_t)chunks * sizeof *pieces);
    uint8_t *values = malloc((size_t)chunks * HASH);
    uint64_t *left = malloc((size_t)count * sizeof *left);
    int error = count && (!pieces || !values || !left) ? ENOMEM : 0;
    uint64_t made = 0;
    for (uint64_t i = 0; !error && i < count; i++) {
        left[i] = chunks_of(lengths[i]);
        for (uint64_t n = 0; n < left[i]; n++) {
            uint64_t rest = lengths[i] - n * CHUNK;
            pieces[made] = (struct piece){
                .at = data + offsets[i] + n * CHUNK,
                .out = left[i] == 1 ? out + HASH * i : values + HASH * made,
                .counter = n,
                .left = (uint32_t)(rest < CHUNK ? rest : CHUNK),
                .begun = CHUNK_START,
                .ended = left[i] == 1 ? CHUNK_END | ROOT : CHUNK_END,
            };
            made++;
        }
    }
    if (!error) compress_all(pieces, made);
    while (!error) {
        made = 0;
        uint8_t *first = values;
        for (uint64_t i = 0; i < count; i++) {
            for (uint64_t n = 0; n < left[i] / 2; n++)
                pieces[made++] = (struct piece){
                    .at = first + 2 * HASH * n,
                    .out = left[i] == 2 ? out + HASH * i : first + HASH * n,
                    .left = BLOCK,
                    .begun = PARENT,
                    .ended = left[i] == 2 ? ROOT : 0,
                };
            first += HASH * chunks_of(lengths[i]);
        }
        if (!made) break;
        compress_all(pieces, made);
        first = values;
        for (uint64_t i = 0; i < count; i++) {
            uint64_t last = left[i] - 1;
            if (last && !(last & 1)) memmove(first + HASH * (last / 2), first + HASH * last, HASH);
            left[i] -= left[i] / 2;
            first += HASH * chunks_of(lengths[i]);
        }
    }
    free(pieces);
    free(values);
    free(left);
    return error;
}
