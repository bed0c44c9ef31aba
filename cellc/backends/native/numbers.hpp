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
#define SHARED static __attribute__((noinline, unused)) // one copy for all who call it

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
static const real LARGEST = 90, SMALLEST = -105, ROUNDER = 12582912;
static const real LOG2_HIGH = 0.693359375f, LOG2_LOW = -2.12194440e-4f;
static const int MANTISSA = 23, BIAS = 127;
// That of (exp(r) - 1 - r)/r^2 whose largest error, 3e-9 of exp(r), is least.
static const real SERIES[] = {0.49999993447796487f, 0.16666520631709497f, 0.041668388045313997f,
                              0.0083687168797281399f, 0.0013814598646664034f};
#else
static const real LARGEST = 711, SMALLEST = -746, ROUNDER = 6755399441055744.0;
static const real LOG2_HIGH = 0.693147180369123816490, LOG2_LOW = 1.90821492927058770002e-10;
static const int MANTISSA = 52, BIAS = 1023;
// As above, with an error of 5e-20.
static const real SERIES[] = {
    0.5, 0.1666666666666668342, 0.041666666666666094278, 0.0083333333333170343227,
    0.0013888888889115628883, 0.00019841269896383667459, 2.4801586926630752285e-5,
    2.7557234862049678484e-6, 2.7557581850931389455e-7, 2.5112036799361423742e-8,
    2.0826626093960624501e-9};
#endif
static const int TERMS = sizeof(SERIES) / sizeof(real);
static const real LOG2_INVERSE = (real)1.44269504088896340736;

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

// 2^n for a whole n within the range of exponents.
INLINE vec power_of_two(vec n) {
    return of_bits((bits_of(n + ROUNDER) - bits_of(all(ROUNDER)) + BIAS) * ((whole)1 << MANTISSA));
}

// a 2^n for a whole n; what is too large or too small becomes infinite or zero, or loses places.
INLINE vec scaled(vec a, vec n) {
#if defined(__AVX512F__) && REAL_BITS == 32
    return __builtin_ia32_scalefps512_mask(a, n, a, 0xffff, 4);
#elif defined(__AVX512F__)
    return __builtin_ia32_scalefpd512_mask(a, n, a, 0xff, 4);
#else
    const vec half = (n * (real)0.5 + ROUNDER) - ROUNDER;
    return a * power_of_two(half) * power_of_two(n - half);
#endif
}

// exp(r) - 1 where r is what is left of a beside n log 2.
INLINE vec reduced(vec a, vec *n) {
    *n = (a * LOG2_INVERSE + ROUNDER) - ROUNDER;
    const vec r = (a - *n * LOG2_HIGH) - *n * LOG2_LOW;
    vec sum = all(SERIES[TERMS - 1]);
    for (int k = TERMS - 2; k >= 0; k--)
        sum = sum * r + SERIES[k];
    return (sum * r) * r + r;
}

INLINE vec exp(vec a) {
    vec n;
    const vec high = a > LARGEST ? all(LARGEST) : a;
    const vec rest = reduced(high < SMALLEST ? all(SMALLEST) : high, &n);
    return scaled(rest + 1, n);
}

// 1/(1 + e) or e/(1 + e) with e = exp(-|a|), which does not overflow.
INLINE vec sigmoid(vec a) {
    vec n;
    const vec below = of_bits(bits_of(a) | sign_bits());
    const vec rest = reduced(below < SMALLEST ? all(SMALLEST) : below, &n);
    const vec e = scaled(rest + 1, n);
    return (a < 0 ? e : all(1)) / (1 + e);
}

// tanh|a| = -m/(m + 2) with m = exp(-2|a|) - 1, which is exact to the last places near zero.
INLINE vec tanh(vec a) {
    vec n;
    const vec size = of_bits(bits_of(a) & ~sign_bits());
    const vec rest = reduced(size > 20 ? all(-40) : -2 * size, &n);
    const vec scale = power_of_two(n), m = scale * rest + (scale - 1);
    const vec value = -m / (m + 2);
    return of_bits((bits_of(value) & ~sign_bits()) | (bits_of(a) & sign_bits()));
}

INLINE vec logaddexp(vec a, vec b) {
    vec larger = maximum(a, b), distance = a > b ? b - a : a - b;
    vec sum = larger + log1p(exp(distance));
    return a == b ? a + (real)0.69314718055994530942 : (sum == sum ? sum : larger + distance);
}
INLINE vec softplus(vec a) { return logaddexp(vec{}, a); }
