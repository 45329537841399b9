// A kernel's PTX as instructions, with registers as numbers and labels as places.
#pragma once
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ptx {

// An instruction is known by the parts of its name between dots: mul.wide.u32 is "mul", "wide", "u32".
using Parts = std::vector<std::string>;

struct Operand {
    enum Kind { REGISTER, NUMBER, SPECIAL, PARAMETER } kind = NUMBER;
    uint64_t value = 0;           // A register's or parameter's number, a special register, or the number itself.
    int64_t offset = 0;           // Of an address.
    bool negated = false;         // A predicate's.
    std::vector<Operand> members; // Of {a, b, …}.
};

// Which special register: %tid.x is THREAD, %tid.y THREAD + 1.
enum Special { THREAD = 0, THREADS = 3, BLOCK = 6, BLOCKS = 9, LANE = 12 };

struct Instruction {
    Parts parts;
    std::string type;  // The last part that is a type: what the instruction works in.
    std::vector<Operand> operands;
    int guard = -1;    // A predicate's register, or none.
    bool guard_negated = false;
    size_t target = 0; // Of a branch.
};

struct Program {
    std::string name;
    std::vector<Instruction> instructions;
    std::map<std::string, uint64_t> registers;
    std::set<std::string> named; // Registers that inline assembly declares, without a % before their names.
    bool known = true; // False once it needed something that is not here; it is not run any more.

    explicit Program(const std::string &text);

private:
    Operand operand(std::string text);
    void declare(const std::string &text);
    void statement(std::string text, std::map<std::string, size_t> &labels, std::map<size_t, std::string> &branches);
};

} // namespace ptx
