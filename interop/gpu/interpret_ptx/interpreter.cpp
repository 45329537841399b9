// Runs kernels' PTX on the CPU, one thread after another: for results, not for speed.
//
// Threads run until they meet: a barrier is passed when all of a block have reached it, a shuffle, a vote, `ldmatrix`, `mma` and `wgmma` when
// all of a warp have. Copies called asynchronous are made at once, so nothing is said of what has to wait for what. What is
// not known here ends a kernel with a line that names it.
#include "program.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

namespace ptx {
namespace {

enum State { RUNS, MEETS_WARP, MEETS_BLOCK, ENDED };

struct Thread {
    std::vector<uint64_t> registers;
    size_t place = 0;
    State state = RUNS;
    unsigned position[3], lane;
};

// Shared addresses as generic ones have this bit.
constexpr uint64_t GENERIC = uint64_t(1) << 62;

float to_float(uint64_t bits) {
    uint32_t low = bits;
    float value;
    memcpy(&value, &low, 4);
    return value;
}

uint64_t to_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

float from_half(uint16_t bits, bool bfloat) {
    _Float16 half;
    memcpy(&half, &bits, 2);
    return bfloat ? to_float(uint64_t(bits) << 16) : float(half);
}

uint16_t to_half(float value, bool bfloat) {
    _Float16 half = _Float16(value);
    uint16_t bits;
    memcpy(&bits, &half, 2);
    if (!bfloat) return bits;
    uint64_t wide = to_bits(value);
    return std::isnan(value) ? 0x7fff : (wide + 0x7fff + (wide >> 16 & 1)) >> 16;
}

int width(const std::string &type) {
    if (type == "b8" || type == "u8" || type == "s8") return 1;
    if (type == "f16x2" || type == "bf16x2") return 4;
    return type.find("16") != std::string::npos ? 2 : type.find("64") != std::string::npos ? 8 : 4;
}

uint64_t low(uint64_t value, int bytes) { return bytes == 8 ? value : value & ((uint64_t(1) << 8 * bytes) - 1); }
int64_t extended(uint64_t value, int bytes) { return int64_t(value << (64 - 8 * bytes)) >> (64 - 8 * bytes); }

bool compare(const std::string &how, auto a, auto b) {
    if (how == "eq") return a == b;
    if (how == "ne") return a != b;
    if (how == "lt" || how == "lo") return a < b;
    if (how == "le" || how == "ls") return a <= b;
    return how == "gt" || how == "hi" ? a > b : a >= b;
}

class Block {
public:
    Block(Program &program, const unsigned (&place)[3], const unsigned (&blocks)[3], const unsigned (&threads)[3], unsigned shared, void **arguments)
        : program(program), arguments(arguments), shared(shared, 0xff) {
        std::copy(place, place + 3, special + BLOCK), std::copy(blocks, blocks + 3, special + BLOCKS), std::copy(threads, threads + 3, special + THREADS);
        all.resize(threads[0] * threads[1] * threads[2]);
        for (unsigned i = 0; i < all.size(); i++) {
            all[i].registers.resize(program.registers.size());
            all[i].position[0] = i % threads[0], all[i].position[1] = i / threads[0] % threads[1], all[i].position[2] = i / threads[0] / threads[1];
            all[i].lane = i % 32;
        }
    }

    void run() {
        for (;;) {
            for (size_t first = 0; first < all.size(); first += 32) {
                while (warp(first, std::min(first + 32, all.size()))) {}
                if (!program.known) return;
            }
            if (std::all_of(all.begin(), all.end(), [](const Thread &one) { return one.state == ENDED; })) return;
            for (Thread &one : all)
                if (one.state == MEETS_BLOCK) one.state = RUNS, one.place++;
        }
    }

private:
    Program &program;
    void **arguments;
    std::vector<uint8_t> shared;
    std::vector<Thread> all;
    unsigned special[12] = {};

    // Runs a warp to where its threads meet; whether they met each other, and not the block.
    bool warp(size_t first, size_t end) {
        size_t place = SIZE_MAX;
        for (size_t i = first; i < end; i++) {
            while (all[i].state == RUNS && program.known) step(all[i]);
            if (all[i].state == MEETS_WARP) place = std::min(place, all[i].place);
        }
        if (place == SIZE_MAX || !program.known) return false;
        std::vector<Thread *> group;
        for (size_t i = first; i < end; i++)
            if (all[i].state == MEETS_WARP && all[i].place == place) group.push_back(&all[i]);
        together(group, program.instructions[place]);
        for (Thread *one : group) one->state = RUNS, one->place++;
        return program.known;
    }

    void unknown(const Instruction &what, const char *why = "is not known") {
        std::string name;
        for (const std::string &part : what.parts) name += (name.empty() ? "" : ".") + part;
        if (program.known) fprintf(stderr, "interpreter: %s ends: %s %s\n", program.name.c_str(), name.c_str(), why);
        program.known = false;
    }

    uint64_t read(const Thread &thread, const Operand &from) const {
        switch (from.kind) {
        case Operand::REGISTER: return from.negated ? !thread.registers[from.value] : thread.registers[from.value];
        case Operand::PARAMETER: return uint64_t(arguments[from.value]);
        case Operand::SPECIAL: return from.value == LANE ? thread.lane : from.value < THREADS ? thread.position[from.value] : special[from.value];
        default: return from.value;
        }
    }

    // Where `bytes` bytes are, or nothing that may be written beyond the end of shared memory.
    uint8_t *memory(const Instruction &what, const std::string &space, uint64_t address, size_t bytes) {
        if (space != "shared" && !(address & GENERIC)) return reinterpret_cast<uint8_t *>(address);
        address = uint32_t(address);
        if (address + bytes <= shared.size()) return shared.data() + address;
        unknown(what, "is out of shared memory");
        static uint8_t nothing[16];
        return nothing;
    }

    uint8_t *address(const Thread &thread, const Instruction &what, const Operand &at, size_t bytes) {
        const std::string &space = what.parts[0] == "cp" || what.parts[0] == "ldmatrix" ? "shared" : what.parts[1];
        return memory(what, space, read(thread, at) + at.offset, bytes);
    }

    void step(Thread &thread);
    void transfer(Thread &thread, const Instruction &what);
    void convert(Thread &thread, const Instruction &what);
    bool floats(Thread &thread, const Instruction &what);
    bool integers(Thread &thread, const Instruction &what);
    void together(std::vector<Thread *> &group, const Instruction &what);
    void load_matrix(std::vector<Thread *> &group, const Instruction &what);
    void transpose(std::vector<Thread *> &group, const Instruction &what);
    void multiply(std::vector<Thread *> &group, const Instruction &what);
    float described(const Instruction &what, uint64_t descriptor, unsigned line, unsigned term, bool turned, bool bfloat);
    void multiply_group(std::vector<Thread *> &group, const Instruction &what);
};

void Block::step(Thread &thread) {
    const Instruction &what = program.instructions[thread.place];
    const std::string &name = what.parts[0];
    if (what.guard >= 0 && (thread.registers[what.guard] != 0) == what.guard_negated) {
        thread.place++;
    } else if (name == "bra") {
        thread.place = what.target;
    } else if (name == "ret" || name == "exit") {
        thread.state = ENDED;
    } else if (name == "bar" || name == "barrier") {
        thread.state = MEETS_BLOCK;
    } else if (name == "shfl" || name == "vote" || name == "ldmatrix" || name == "movmatrix" || name == "mma" || (name == "wgmma" && what.parts[1] == "mma_async")) {
        thread.state = MEETS_WARP;
    } else if (name == "wgmma" || name == "fence") {
        thread.place++; // Products are made at once, so there is nothing to wait for.
    } else {
        thread.place++;
        if (name == "ld" || name == "st" || name == "cp" || name == "mov") transfer(thread, what);
        else if (name == "cvt") convert(thread, what);
        else if (!(what.type.find('f') != std::string::npos ? floats(thread, what) : integers(thread, what))) unknown(what);
    }
}

void Block::transfer(Thread &thread, const Instruction &what) {
    const std::string &name = what.parts[0];
    if (name == "cp") {
        if (what.operands.size() < 3) return; // Groups and waits.
        uint8_t *to = address(thread, what, what.operands[0], 16);
        memcpy(to, reinterpret_cast<uint8_t *>(read(thread, what.operands[1]) + what.operands[1].offset), what.operands[2].value);
        return;
    }
    const Operand &values = what.operands[name == "st"], &other = what.operands[name != "st"];
    int bytes = width(what.type);
    if (name == "mov" && values.members.empty() && other.members.empty()) {
        thread.registers[values.value] = low(read(thread, other), bytes);
        return;
    }
    std::vector<Operand> members = values.members.empty() ? std::vector<Operand>{values} : values.members;
    if (name == "mov") { // Packs or unpacks.
        const std::vector<Operand> &parts = values.members.empty() ? other.members : values.members;
        int part = bytes / int(parts.size());
        uint64_t packed = values.members.empty() ? 0 : read(thread, other);
        for (size_t i = 0; i < parts.size(); i++) {
            if (values.members.empty()) packed |= low(read(thread, parts[i]), part) << 8 * part * i;
            else if (parts[i].kind == Operand::REGISTER) thread.registers[parts[i].value] = low(packed >> 8 * part * i, part);
        }
        if (values.members.empty()) thread.registers[values.value] = packed;
        return;
    }
    uint8_t *at = address(thread, what, other, bytes * members.size());
    for (size_t i = 0; i < members.size(); i++) {
        uint64_t value = name == "st" ? read(thread, members[i]) : 0;
        if (name == "st") memcpy(at + i * bytes, &value, bytes);
        else memcpy(&value, at + i * bytes, bytes), thread.registers[members[i].value] = value;
    }
}

void Block::convert(Thread &thread, const Instruction &what) {
    const Parts &parts = what.parts;
    const std::string &to = parts[parts.size() - 2], &from = parts.back();
    uint64_t bits = read(thread, what.operands[1]), &result = thread.registers[what.operands[0].value];
    auto has = [&](const char *part) { return std::count(parts.begin(), parts.end(), part) > 0; };
    auto is_float = [](const std::string &type) { return type.find('f') != std::string::npos; };
    int bytes = width(from);
    if (!is_float(from) && !is_float(to)) {
        result = low(from[0] == 's' ? extended(bits, bytes) : low(bits, bytes), width(to));
        return;
    }
    float value = from == "f32" ? to_float(bits) : is_float(from) ? from_half(bits, from == "bf16") : from[0] == 's' ? float(extended(bits, bytes)) : float(low(bits, bytes));
    if (has("sat")) value = std::isnan(value) ? 0.0f : std::clamp(value, 0.0f, 1.0f);
    if (has("rni")) value = std::rint(value);
    if (has("rzi")) value = std::trunc(value);
    if (has("rmi")) value = std::floor(value);
    if (to == "f32") result = to_bits(value);
    else if (is_float(to)) result = to_half(value, to == "bf16");
    else if (to == "s32") result = uint32_t(int32_t(value));
    else if (to == "u32") result = value <= 0 ? 0 : uint32_t(value);
    else unknown(what);
}

bool Block::floats(Thread &thread, const Instruction &what) {
    const std::string &name = what.parts[0], &type = what.type;
    bool single = type == "f32", bfloat = type[0] == 'b';
    if (type == "f64") return false;
    uint64_t &result = thread.registers[what.operands[0].value];
    auto number = [&](int i, int half) {
        uint64_t bits = size_t(i) < what.operands.size() ? read(thread, what.operands[i]) : 0;
        return single ? to_float(bits) : from_half(bits >> 16 * half, bfloat);
    };
    if (name == "setp") {
        float a = number(1, 0), b = number(2, 0);
        std::string how = what.parts[1];
        bool unordered = std::isnan(a) || std::isnan(b);
        if (how == "num" || how == "nan") return result = (how == "nan") == unordered, true;
        bool or_unordered = how.size() == 3;
        return result = unordered ? or_unordered : compare(how.substr(0, 2), a, b), true;
    }
    if (name == "selp") return result = read(thread, what.operands[read(thread, what.operands[3]) ? 1 : 2]), true;
    uint64_t packed = 0;
    for (int half = 0; half < (type.back() == '2' && !single ? 2 : 1); half++) {
        float a = number(1, half), b = number(2, half), c = number(3, half), value;
        if (name == "add") value = a + b;
        else if (name == "sub") value = a - b;
        else if (name == "mul") value = a * b;
        else if (name == "div") value = a / b;
        else if (name == "min") value = std::fmin(a, b);
        else if (name == "max") value = std::fmax(a, b);
        else if (name == "neg") value = -a;
        else if (name == "abs") value = std::fabs(a);
        else if (name == "ex2") value = std::exp2(a);
        else if (name == "lg2") value = std::log2(a);
        else if (name == "rcp") value = 1 / a;
        else if (name == "sqrt") value = std::sqrt(a);
        else if (name == "fma" && what.parts[1] == "rm") {
            double exact = double(a) * b + c;
            value = float(exact);
            if (value > exact) value = std::nextafter(value, -INFINITY);
        } else if (name == "fma") value = std::fma(a, b, c);
        else return false;
        packed |= (single ? to_bits(value) : uint64_t(to_half(value, bfloat))) << 16 * half;
    }
    return result = packed, true;
}

bool Block::integers(Thread &thread, const Instruction &what) {
    const std::string &name = what.parts[0];
    int bytes = width(what.type);
    bool is_signed = what.type[0] == 's', predicate = what.type == "pred";
    auto number = [&](size_t i) { return i < what.operands.size() ? read(thread, what.operands[i]) : 0; };
    uint64_t &result = thread.registers[what.operands[0].value];
    uint64_t a = low(number(1), bytes), b = low(number(2), bytes), c = number(3), value;
    int64_t signed_a = extended(a, bytes), signed_b = extended(b, bytes);
    const std::string how = what.parts.size() > 1 ? what.parts[1] : "";
    if (name == "activemask") return result = 0xffffffff, true;
    if (name == "cvta") return result = what.parts.back() == "u64" && how == "shared" ? number(1) | GENERIC : number(1) & ~(how == "to" && what.parts[2] == "shared" ? GENERIC : 0), true;
    if (name == "setp") {
        bool holds = is_signed ? compare(how, signed_a, signed_b) : compare(how, a, b);
        return result = what.parts[2] == "and" ? holds && c : what.parts[2] == "or" ? holds || c : holds, true;
    }
    if (name == "selp") return result = c ? number(1) : number(2), true;
    if (name == "mul" || name == "mad") {
        unsigned __int128 wide = is_signed ? (unsigned __int128)((__int128)signed_a * signed_b) : (unsigned __int128)a * b;
        value = how == "hi" ? uint64_t(wide >> 8 * bytes) : uint64_t(wide);
        bytes = how == "wide" ? 2 * bytes : bytes;
        return result = low(value + (name == "mad" ? c : 0), bytes), true;
    }
    uint64_t shift = number(2), bits = 8 * bytes;
    if (name == "add") value = a + b;
    else if (name == "sub") value = a - b;
    else if (name == "min") value = is_signed ? std::min(signed_a, signed_b) : std::min(a, b);
    else if (name == "max") value = is_signed ? std::max(signed_a, signed_b) : std::max(a, b);
    else if (name == "div") value = b == 0 ? ~uint64_t(0) : is_signed ? signed_a / signed_b : a / b;
    else if (name == "rem") value = b == 0 ? a : is_signed ? signed_a % signed_b : a % b;
    else if (name == "neg") value = -a;
    else if (name == "and") value = number(1) & number(2);
    else if (name == "or") value = number(1) | number(2);
    else if (name == "xor") value = number(1) ^ number(2);
    else if (name == "not") value = ~number(1);
    else if (name == "shl") value = shift >= bits ? 0 : a << shift;
    else if (name == "shr") value = is_signed ? signed_a >> std::min(shift, bits - 1) : shift >= bits ? 0 : a >> shift;
    else if (name == "bfi") {
        uint64_t length = number(4), mask = ((uint64_t(1) << length) - 1) << c;
        value = (b & ~mask) | (a << c & mask);
    } else return false;
    return result = predicate ? value & 1 : low(value, bytes), true;
}

void Block::together(std::vector<Thread *> &group, const Instruction &what) {
    const std::string &name = what.parts[0];
    if (name == "vote" && what.parts[2] == "any") {
        bool any = std::any_of(group.begin(), group.end(), [&](Thread *one) { return read(*one, what.operands[1]); });
        for (Thread *one : group) one->registers[what.operands[0].value] = any;
    } else if (name == "shfl" && what.parts[2] == "bfly") {
        uint64_t values[32];
        bool here[32] = {};
        for (Thread *one : group) values[one->lane] = read(*one, what.operands[1]), here[one->lane] = true;
        for (Thread *one : group) {
            unsigned other = one->lane ^ unsigned(read(*one, what.operands[2]));
            if (other > 31 || !here[other]) return unknown(what, "asks a thread that is not here");
            one->registers[what.operands[0].value] = values[other];
        }
    } else if (group.size() < 32) unknown(what, "has less than a warp");
    else if (name == "ldmatrix") load_matrix(group, what);
    else if (name == "movmatrix") transpose(group, what);
    else if (name == "mma") multiply(group, what);
    else if (name == "wgmma") multiply_group(group, what);
    else unknown(what);
}

void Block::load_matrix(std::vector<Thread *> &group, const Instruction &what) {
    const std::vector<Operand> &results = what.operands[0].members;
    bool turned = std::count(what.parts.begin(), what.parts.end(), "trans") > 0;
    std::vector<uint8_t *> rows;
    for (size_t i = 0; i < 8 * results.size(); i++) {
        rows.push_back(address(*group[i], what, what.operands[1], 16));
        if ((rows.back() - shared.data()) % 16) return unknown(what, "has an address that is no multiple of 16");
    }
    for (Thread *one : group) {
        for (size_t matrix = 0; matrix < results.size(); matrix++) {
            uint64_t packed = 0;
            for (int i = 0; i < 2; i++) {
                unsigned row = one->lane / 4, column = one->lane % 4 * 2 + i;
                if (turned) std::swap(row, column);
                uint16_t value;
                memcpy(&value, rows[8 * matrix + row] + 2 * column, 2);
                packed |= uint64_t(value) << 16 * i;
            }
            one->registers[results[matrix].value] = packed;
        }
    }
}

// movmatrix: 8 × 8 values of two bytes, of which thread t has two neighbouring ones of row t / 4, transposed.
void Block::transpose(std::vector<Thread *> &group, const Instruction &what) {
    uint32_t values[32];
    for (Thread *one : group) values[one->lane] = uint32_t(read(*one, what.operands[1]));
    for (Thread *one : group) {
        uint64_t packed = 0;
        for (unsigned i = 0; i < 2; i++) {
            unsigned row = one->lane % 4 * 2 + i, column = one->lane / 4;
            packed |= uint64_t(values[row * 4 + column / 2] >> 16 * (column % 2) & 0xffff) << 16 * i;
        }
        one->registers[what.operands[0].value] = packed;
    }
}

// mma.m16n8k16 with float32 sums; the places of values are the PTX ISA's.
void Block::multiply(std::vector<Thread *> &group, const Instruction &what) {
    bool bfloat = std::count(what.parts.begin(), what.parts.end(), "bf16") > 0;
    float left[16][16], right[16][8];
    auto half = [&](Thread *one, const Operand &from, int i) { return from_half(read(*one, from.members[i / 2]) >> 16 * (i % 2), bfloat); };
    for (Thread *one : group) {
        int row = one->lane / 4, pair = one->lane % 4 * 2;
        for (int i = 0; i < 8; i++) left[row + i / 2 % 2 * 8][pair + i % 2 + i / 4 * 8] = half(one, what.operands[1], i);
        for (int i = 0; i < 4; i++) right[pair + i % 2 + i / 2 * 8][row] = half(one, what.operands[2], i);
    }
    for (Thread *one : group) {
        float sums[4];
        for (int i = 0; i < 4; i++) {
            int row = one->lane / 4 + i / 2 * 8, column = one->lane % 4 * 2 + i % 2;
            sums[i] = to_float(read(*one, what.operands[3].members[i]));
            for (int term = 0; term < 16; term++) sums[i] += left[row][term] * right[term][column];
        }
        for (int i = 0; i < 4; i++) one->registers[what.operands[0].members[i].value] = to_bits(sums[i]);
    }
}

// A value of an operand of wgmma in shared memory, swizzled over 128 bytes. Rows have 128 bytes, of the terms of a line or, turned, of
// the lines of a term; the descriptor says where they begin, how far eight rows are from the next eight, and 64 lines from the next 64.
float Block::described(const Instruction &what, uint64_t descriptor, unsigned line, unsigned term, bool turned, bool bfloat) {
    auto field = [&](int first) { return (descriptor >> first & 0x3fff) << 4; };
    if (descriptor >> 62 != 1) unknown(what, "has another swizzle than over 128 bytes");
    uint64_t to_next_lines = field(16), to_next_rows = field(32), place = field(0);
    if (turned) place += line / 64 * to_next_lines + line % 64 * 2 + term / 8 * to_next_rows + term % 8 * 128;
    else place += line / 8 * to_next_rows + line % 8 * 128 + term * 2;
    place ^= (place >> 7 & 7) << 4;
    if (place + 2 > shared.size()) return unknown(what, "is out of shared memory"), 0;
    uint16_t bits;
    memcpy(&bits, shared.data() + place, 2);
    return from_half(bits, bfloat);
}

// wgmma.mma_async.m64nNk16 with both operands in shared memory: a warp's 16 of the 64 rows; the places of values are the PTX ISA's.
void Block::multiply_group(std::vector<Thread *> &group, const Instruction &what) {
    bool bfloat = what.parts.back() == "bf16";
    const std::vector<Operand> &results = what.operands[0].members;
    unsigned columns = results.size() * 2;
    if (what.operands.size() != 8 || columns % 8 || what.parts[4] != "m64n" + std::to_string(columns) + "k16") return unknown(what);
    Thread *first = group[0];
    uint64_t left = read(*first, what.operands[1]), right = read(*first, what.operands[2]);
    bool adds = read(*first, what.operands[3]), turned[2] = {what.operands[6].value != 0, what.operands[7].value != 0};
    unsigned first_row = (first->position[0] / 32) % 4 * 16;
    std::vector<float> a(16 * 16), b(columns * 16);
    for (unsigned term = 0; term < 16; term++) {
        for (unsigned row = 0; row < 16; row++) a[row * 16 + term] = described(what, left, first_row + row, term, turned[0], bfloat);
        for (unsigned column = 0; column < columns; column++) b[column * 16 + term] = described(what, right, column, term, turned[1], bfloat);
    }
    if (!program.known) return;
    for (Thread *one : group) {
        if (read(*one, what.operands[1]) != left || read(*one, what.operands[2]) != right) return unknown(what, "has several descriptors in a warp");
        for (size_t i = 0; i < results.size(); i++) {
            unsigned row = one->lane / 4 + i / 2 % 2 * 8, column = one->lane % 4 * 2 + i / 4 * 8 + i % 2;
            float sum = adds ? to_float(one->registers[results[i].value]) : 0;
            for (int term = 0; term < 16; term++) sum += a[row * 16 + term] * b[column * 16 + term];
            one->registers[results[i].value] = to_bits(sum);
        }
    }
}

std::map<void *, std::unique_ptr<Program>> programs;

} // namespace
} // namespace ptx

// What the stand-in driver calls.
extern "C" void kernel_loaded(void *kernel, const char *text) { ptx::programs[kernel] = std::make_unique<ptx::Program>(text); }

extern "C" void kernel_launched(void *kernel, const unsigned (&blocks)[3], const unsigned (&threads)[3], unsigned shared, void **arguments) {
    ptx::Program &program = *ptx::programs.at(kernel);
    for (unsigned i = 0; program.known && i < blocks[0] * blocks[1] * blocks[2]; i++)
        ptx::Block(program, {i % blocks[0], i / blocks[0] % blocks[1], i / blocks[0] / blocks[1]}, blocks, threads, shared, arguments).run();
}
