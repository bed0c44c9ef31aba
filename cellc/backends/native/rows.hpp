// Reductions of one row of numbers.

INLINE real total(vec sum) {
    real value = 0;
    for (int64_t lane = 0; lane < LANES; lane++)
        value += sum[lane];
    return value;
}

// What `each` gives for every vector of a row, added up.
template <typename Each> INLINE real added(int64_t count, Each each) {
    vec sum = {};
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES)
        sum += each(j, LANES);
    real value = total(sum);
    if (j < count) {
        vec rest = each(j, count - j);
        for (int64_t lane = 0; lane < count - j; lane++)
            value += rest[lane];
    }
    return value;
}

template <typename Each> INLINE void filled(int64_t count, real *to, Each each) {
    int64_t j = 0;
    for (; j + LANES <= count; j += LANES)
        store<true>(to + j, each(j, LANES), LANES);
    if (j < count)
        store<false>(to + j, each(j, count - j), count - j);
}

INLINE vec some(const real *from, int64_t n) {
    return n == LANES ? load<true>(from, n) : load<false>(from, n);
}

INLINE void put(real *to, vec value, int64_t n) {
    if (n == LANES)
        store<true>(to, value, n);
    else
        store<false>(to, value, n);
}

SHARED void sum(int64_t count, const real *a, real *to) {
    *to = added(count, [=](int64_t j, int64_t n) { return some(a + j, n); });
}

SHARED void mean(int64_t count, const real *a, real *to) {
    sum(count, a, to);
    *to /= count;
}

SHARED void count(int64_t count, const real *, real *to) { *to = count; }

SHARED void standardize(int64_t count, const real *a, real *to) {
    real middle;
    mean(count, a, &middle);
    real variance = added(count, [=](int64_t j, int64_t n) {
        vec far = some(a + j, n) - middle;
        return far * far;
    });
    real deviation = sqrt(all(variance / count + (real)1e-05))[0];
    filled(count, to, [=](int64_t j, int64_t n) { return (some(a + j, n) - middle) / deviation; });
}

SHARED void standardize_slope(int64_t count, const real *g, const real *a,
                                     const real *middle, const real *deviation, real *to) {
    real m = *middle, d = *deviation, slope;
    mean(count, g, &slope);
    real along = added(count, [=](int64_t j, int64_t n) {
        return some(g + j, n) * ((some(a + j, n) - m) / d);
    });
    along /= count;
    filled(count, to, [=](int64_t j, int64_t n) {
        vec y = (some(a + j, n) - m) / d;
        return (some(g + j, n) - slope - y * along) / d;
    });
}

SHARED void softmax(int64_t count, const real *a, real *to) {
    real largest = a[0];
    for (int64_t j = 1; j < count; j++)
        largest = maximum(all(largest), all(a[j]))[0];
    filled(count, to, [=](int64_t j, int64_t n) { return exp(some(a + j, n) - largest); });
    real sum_;
    sum(count, to, &sum_);
    filled(count, to, [=](int64_t j, int64_t n) { return some(to + j, n) / sum_; });
}

// Products whose weights differ from row to row, or have a structure.

SHARED real dot(int64_t count, const real *a, const real *b) {
    return added(count, [=](int64_t j, int64_t n) { return some(a + j, n) * some(b + j, n); });
}

static inline void add_times(int64_t count, real factor, const real *a, real *to) {
    filled(count, to, [=](int64_t j, int64_t n) { return some(to + j, n) + factor * some(a + j, n); });
}

// w [outputs, inputs] times v.
SHARED void multiply(int64_t outputs, int64_t inputs, const real *w, const real *v,
                            real *to) {
    for (int64_t m = 0; m < outputs; m++)
        to[m] = dot(inputs, w + m * inputs, v);
}

// The transpose of w [inputs, outputs] times v, added to what is there.
SHARED void add_transposed(int64_t inputs, int64_t outputs, const real *w, const real *v,
                                  real *to) {
    for (int64_t k = 0; k < inputs; k++)
        add_times(outputs, v[k], w + k * outputs, to);
}

static inline void clear(int64_t count, real *to) { memset(to, 0, count * sizeof(real)); }

static inline void add(int64_t count, const real *a, real *to) { add_times(count, 1, a, to); }

// A filter w [C, D, k, l, m] over v [D, X, Y, Z], or, turned round, of [C, X, Y, Z] to [D, ...].
SHARED void convolve(bool turned, const int64_t *w_shape, const int64_t *v_shape,
                            const real *w, const real *v, real *to) {
    const int64_t C = w_shape[0], D = w_shape[1], *k = w_shape + 2, *x = v_shape + 1;
    const int64_t places = x[0] * x[1] * x[2], numbers = k[0] * k[1] * k[2];
    clear((turned ? D : C) * places, to);
    for (int64_t c = 0; c < C; c++)
        for (int64_t d = 0; d < D; d++)
            for (int64_t tap = 0; tap < numbers; tap++) {
                const int64_t t[] = {tap / (k[1] * k[2]), tap / k[2] % k[1], tap % k[2]};
                const real weight = w[(c * D + d) * numbers + tap];
                int64_t from[3], begin[3], end[3];
                for (int i = 0; i < 3; i++) {
                    from[i] = t[i] - (k[i] - 1) / 2;
                    begin[i] = from[i] < 0 ? -from[i] : 0;
                    end[i] = from[i] > 0 ? x[i] - from[i] : x[i];
                }
                for (int64_t i = begin[0]; i < end[0]; i++)
                    for (int64_t j = begin[1]; j < end[1]; j++) {
                        const int64_t here = (i * x[1] + j) * x[2];
                        const int64_t there = ((i + from[0]) * x[1] + j + from[1]) * x[2] + from[2];
                        const int64_t source = turned ? here : there;
                        const int64_t target = turned ? there : here;
                        if (end[2] > begin[2])
                            add_times(end[2] - begin[2], weight,
                                      v + (turned ? c : d) * places + source + begin[2],
                                      to + (turned ? d : c) * places + target + begin[2]);
                    }
            }
}
