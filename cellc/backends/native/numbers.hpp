// Vectors of real numbers and their functions.
//
// A vector is as wide as the machine's registers. Functions of all lanes at once are within
// two units in the last place; what is not a number, or infinite, comes out as in NumPy.

#include <stdint.h>
#include <string.h>

#ifndef REAL_BITS
#define REAL_BITS 32
#endif

#if REAL_BITS == 32
typedef float real;
typedef int32_t whole;
#else
typedef double real;
typedef int64_t whole;
#endif

#if defined(__AVX512F__)
#define VECTOR_BYTES 64
#define REGISTERS 32
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#define REGISTERS 16
#elif defined(__aarch64__)
#define VECTOR_BYTES 16
#define REGISTERS 32
#else
#define VECTOR_BYTES 16
#define REGISTERS 16
#endif

#define EXPORT extern "C" __attribute__((visibility("default")))
#define INLINE static inline __attribute__((always_inline, unused))

typedef real vec __attribute__((vector_size(VECTOR_BYTES)));
typedef whole mask __attribute__((vector_size(VECTOR_BYTES)));

static const int64_t LANES = VECTOR_BYTES / sizeof(real);

// A number in all lanes; taking zero away leaves every number as it is, even -0.
INLINE vec all(real value) { return value - vec{}; }

// Keep a vector in its register, where compilers would rather read it from memory again.
#if defined(__AVX512F__)
#define HELD(value) __asm__("" : "+v"(value))
#elif defined(__x86_64__)
#define HELD(value) __asm__("" : "+x"(value))
#elif defined(__aarch64__)
#define HELD(value) __asm__("" : "+w"(value))
#else
#define HELD(value)
#endif

// The first n numbers of a vector; all of them where FULL.
template <bool FULL> INLINE vec load(const real *from, int64_t n) {
    vec value = {};
    if (FULL)
        memcpy(&value, from, sizeof value);
    else
        memcpy(&value, from, n * sizeof(real));
    return value;
}

template <bool FULL> INLINE void store(real *to, vec value, int64_t n) {
    if (FULL)
        memcpy(to, &value, sizeof value);
    else
        memcpy(to, &value, n * sizeof(real));
}

INLINE vec select(mask condition, vec a, vec b) { return condition ? a : b; }
INLINE mask select(mask condition, mask a, mask b) { return condition ? a : b; }

// The lanes one by one, for what the library of C computes.
#define LANE_BY_LANE(name, function)                                                              \
    INLINE vec name(vec a) {                                                                      \
        for (int64_t lane = 0; lane < LANES; lane++)                                              \
            a[lane] = (real)function(a[lane]);                                                    \
        return a;                                                                                 \
    }

#if REAL_BITS == 32
#define OF_LIBRARY(function) __builtin_##function##f
#else
#define OF_LIBRARY(function) __builtin_##function
#endif

LANE_BY_LANE(log, OF_LIBRARY(log))
LANE_BY_LANE(log1p, OF_LIBRARY(log1p))
LANE_BY_LANE(sqrt, OF_LIBRARY(sqrt))
LANE_BY_LANE(floor, OF_LIBRARY(floor))
LANE_BY_LANE(sin, OF_LIBRARY(sin))
LANE_BY_LANE(cos, OF_LIBRARY(cos))

INLINE vec power(vec a, vec b) {
    for (int64_t lane = 0; lane < LANES; lane++)
        a[lane] = OF_LIBRARY(pow)(a[lane], b[lane]);
    return a;
}

INLINE vec mod(vec a, vec b) {
    for (int64_t lane = 0; lane < LANES; lane++) {
        real rest = OF_LIBRARY(fmod)(a[lane], b[lane]);
        if (rest != 0 && (rest < 0) != (b[lane] < 0))
            rest += b[lane];
        a[lane] = rest == 0 ? OF_LIBRARY(copysign)((real)0, b[lane]) : rest;
    }
    return a;
}

INLINE vec abs(vec a) { return a < 0 ? -a : (a == 0 ? vec{} : a); }
INLINE vec sign(vec a) { return a > 0 ? all(1) : (a < 0 ? all(-1) : (a == 0 ? vec{} : a)); }
INLINE vec maximum(vec a, vec b) { return a >= b ? a : (b == b ? (a == a ? b : a) : b); }
INLINE vec minimum(vec a, vec b) { return a <= b ? a : (b == b ? (a == a ? b : a) : b); }
INLINE vec clip(vec a, vec low, vec high) { return minimum(maximum(a, low), high); }

// The exponential: a = n log 2 + r with |r| at most log(2)/2, and a polynomial in r.

#if REAL_BITS == 32
static const real LARGEST = 88.72284f, SMALLEST = -104.0f, ROUNDER = 12582912.0f;
static const real LOG2_HIGH = 0.693359375f, LOG2_LOW = -2.12194440e-4f;
static const int MANTISSA = 23, BIAS = 127, LIFT = 64;
static const int TERMS = 7;
#else
static const real LARGEST = 709.782712893384, SMALLEST = -745.2, ROUNDER = 6755399441055744.0;
static const real LOG2_HIGH = 0.693147180369123816490, LOG2_LOW = 1.90821492927058770002e-10;
static const int MANTISSA = 52, BIAS = 1023, LIFT = 512;
static const int TERMS = 13;
#endif
static const real LOG2_INVERSE = (real)1.44269504088896340736;

// 1/k! for k = 0, 1, ...
static const double RECIPROCAL[] = {
    1.0, 1.0, 0.5, 1.6666666666666666e-1, 4.1666666666666664e-2, 8.3333333333333332e-3,
    1.3888888888888889e-3, 1.9841269841269841e-4, 2.4801587301587302e-5, 2.7557319223985893e-6,
    2.7557319223985888e-7, 2.5052108385441720e-8, 2.0876756987868100e-9, 1.6059043836821613e-10};

INLINE mask bits_of(vec a) {
    mask bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}
INLINE vec of_bits(mask bits) {
    vec a;
    memcpy(&a, &bits, sizeof a);
    return a;
}
INLINE mask sign_bits() { return bits_of(all(-(real)0)); }

INLINE vec power_of_two(mask n) { return of_bits((n + BIAS) << MANTISSA); }

// exp(r) - 1 where r is what is left of a beside n log 2.
INLINE vec reduced(vec a, mask *n) {
    vec rounded = a * LOG2_INVERSE + ROUNDER;
    *n = bits_of(rounded) - bits_of(all(ROUNDER));
    vec count = rounded - ROUNDER;
    vec r = (a - count * LOG2_HIGH) - count * LOG2_LOW;
    vec sum = all((real)RECIPROCAL[TERMS]);
    for (int k = TERMS - 1; k >= 2; k--)
        sum = sum * r + (real)RECIPROCAL[k];
    return (sum * r) * r + r;
}

INLINE vec exp(vec a) {
    vec held = a > LARGEST ? all(LARGEST) : (a < SMALLEST ? all(SMALLEST) : a);
    mask n;
    vec value = reduced(held, &n) + 1;
    mask half = n >> 1;
    value = value * power_of_two(half) * power_of_two(n - half);
    return a > LARGEST ? all(__builtin_inff()) : value;
}

// exp(a) of an a that is not positive: what is too small for the exponent is scaled down at last.
INLINE vec exp_below(vec a) {
    mask n;
    vec value = reduced(a < SMALLEST ? all(SMALLEST) : a, &n) + 1;
    return value * power_of_two(n + LIFT) * power_of_two(mask{} - LIFT);
}

// 1/(1 + e) or e/(1 + e) with e = exp(-|a|), which does not overflow.
INLINE vec sigmoid(vec a) {
    vec e = exp_below(of_bits(bits_of(a) | sign_bits()));
    return (a < 0 ? e : all(1)) / (1 + e);
}

// With m = exp(-2|a|) - 1, tanh|a| is -m/(m + 2), which is exact to the last places near zero,
// and 1 - 2(m + 1)/(m + 2), which is so near one.
INLINE vec tanh(vec a) {
    vec size = of_bits(bits_of(a) & ~sign_bits());
    vec twice = size > 20 ? all(-40) : -2 * size;
    mask n;
    vec rest = reduced(twice, &n);
    vec scale = power_of_two(n);
    vec e = scale * rest + scale, m = scale * rest + (scale - 1);
    mask far = size > (real)0.55;
    vec share = (far ? 2 * e : -m) / (m + 2);
    vec value = far ? 1 - share : share;
    return of_bits((bits_of(value) & ~sign_bits()) | (bits_of(a) & sign_bits()));
}

INLINE vec logaddexp(vec a, vec b) {
    vec larger = maximum(a, b), distance = a > b ? b - a : a - b;
    vec sum = larger + log1p(exp(distance));
    return a == b ? a + (real)0.69314718055994530942 : (sum == sum ? sum : larger + distance);
}
INLINE vec softplus(vec a) { return logaddexp(vec{}, a); }
