// Products of rows by a weight that was packed in panels.
//
// A panel holds, for each k, the numbers of NV vectors of outputs one behind the other. The
// products of up to some rows by a panel fill the registers of the machine. Row r has its k-th
// number at r*stride + k*step.

INLINE constexpr int most_rows(int vectors) {
    int rows = (REGISTERS - 1 - vectors) / vectors;
    return rows < 1 ? 1 : rows > 12 ? 12 : rows;
}

template <int ROWS, int NV>
static void product_of(int64_t depth, const real *rows, int64_t stride, int64_t step,
                       const real *panel, real *tile) {
    constexpr int PARALLEL = ROWS * NV >= 8 ? 1 : ROWS * NV >= 4 ? 2 : 4;
    vec sums[PARALLEL][ROWS][NV] = {};
    int64_t k = 0;
    for (; k + PARALLEL <= depth; k += PARALLEL) {
#pragma GCC unroll 4
        for (int p = 0; p < PARALLEL; p++) {
            const real *at = panel + (k + p) * NV * LANES;
            vec weights[NV];
#pragma GCC unroll 8
            for (int v = 0; v < NV; v++) {
                memcpy(&weights[v], at + v * LANES, sizeof(vec));
                if (ROWS > 1)
                    HELD(weights[v]);
            }
#pragma GCC unroll 12
            for (int r = 0; r < ROWS; r++) {
                vec x = all(rows[r * stride + (k + p) * step]);
#pragma GCC unroll 8
                for (int v = 0; v < NV; v++)
                    sums[p][r][v] += x * weights[v];
            }
        }
    }
    for (; k < depth; k++)
        for (int r = 0; r < ROWS; r++)
            for (int v = 0; v < NV; v++) {
                vec weight;
                memcpy(&weight, panel + (k * NV + v) * LANES, sizeof(vec));
                sums[0][r][v] += rows[r * stride + k * step] * weight;
            }
    for (int r = 0; r < ROWS; r++)
        for (int v = 0; v < NV; v++) {
            vec sum = sums[0][r][v];
            for (int p = 1; p < PARALLEL; p++)
                sum += sums[p][r][v];
            memcpy(tile + (r * NV + v) * LANES, &sum, sizeof(vec));
        }
}

// The products of some rows, chosen among the functions for each number of rows.
template <int NV, int ROWS = most_rows(NV)> struct Products {
    INLINE void run(int64_t count, int64_t depth, const real *rows, int64_t stride, int64_t step,
                    const real *panel, real *tile) {
        if (count == ROWS)
            product_of<ROWS, NV>(depth, rows, stride, step, panel, tile);
        else
            Products<NV, ROWS - 1>::run(count, depth, rows, stride, step, panel, tile);
    }
};
template <int NV> struct Products<NV, 0> {
    INLINE void run(int64_t, int64_t, const real *, int64_t, int64_t, const real *, real *) {}
};
