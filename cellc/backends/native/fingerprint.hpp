// A hash of numbers, to tell whether they have changed.

typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));

INLINE words stirred(words sum, words value) {
    sum = (sum ^ value) * 0x9E3779B97F4A7C15u;
    return sum ^ (sum >> 32);
}

EXPORT uint64_t fingerprint(int64_t count, const void *const *arrays, const int64_t *bytes) {
    const int64_t width = sizeof(words), several = 4;
    words sums[several];
    for (int64_t k = 0; k < several; k++)
        sums[k] = words{} + (uint64_t)(k + 1);
    for (int64_t array = 0; array < count; array++) {
        const char *from = (const char *)arrays[array], *end = from + bytes[array];
        for (; end - from >= several * width; from += several * width)
            for (int64_t k = 0; k < several; k++) {
                words value;
                memcpy(&value, from + k * width, width);
                sums[k] = stirred(sums[k], value);
            }
        for (; from < end; from += width) {
            words value = {};
            memcpy(&value, from, end - from < width ? end - from : width);
            sums[0] = stirred(sums[0], value);
        }
        sums[0] = stirred(sums[0], words{} + (uint64_t)bytes[array]);
    }
    uint64_t hash = 0;
    for (int64_t k = 0; k < several; k++)
        for (uint64_t lane = 0; lane < width / 8; lane++) {
            hash = (hash ^ (sums[k][lane] + lane)) * 0x9E3779B97F4A7C15u;
            hash ^= hash >> 32;
        }
    return hash;
}
