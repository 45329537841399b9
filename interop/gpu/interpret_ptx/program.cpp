#include "program.hpp"

#include <cctype>
#include <cstdio>
#include <cstdlib>
#include <set>

namespace ptx {
namespace {

std::string trimmed(const std::string &text) {
    const char *space = " \t\r\n";
    size_t first = text.find_first_not_of(space);
    return first == std::string::npos ? "" : text.substr(first, text.find_last_not_of(space) - first + 1);
}

// The pieces between `separator`, but not within brackets.
std::vector<std::string> split(const std::string &text, char separator) {
    std::vector<std::string> pieces(1);
    int depth = 0;
    for (char c : text) {
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        if (c == separator && depth == 0) pieces.emplace_back();
        else pieces.back() += c;
    }
    return pieces;
}

// The body of the entry, without comments and what is for debuggers.
std::string body(const std::string &text) {
    size_t first = text.find("\n{", text.find(".entry ")), last = first + 1;
    for (int depth = 0; last < text.size(); last++) {
        depth += text[last] == '{';
        if (text[last] == '}' && --depth == 0) break;
    }
    std::string lines, line;
    for (size_t i = first + 2; i < last; i++) {
        if (text[i] != '\n') {
            line += text[i];
            continue;
        }
        line = trimmed(line.substr(0, line.find("//")));
        if (line.rfind(".loc", 0) != 0 && line.rfind(".pragma", 0) != 0) lines += line + "\n";
        line.clear();
    }
    return lines;
}

} // namespace

Operand Program::operand(std::string text) {
    Operand found;
    text = trimmed(text);
    if (text.empty()) return found;
    if (text[0] == '{') {
        for (const std::string &member : split(text.substr(1, text.rfind('}') - 1), ',')) found.members.push_back(operand(member));
    } else if (text[0] == '[') {
        std::string inner = text.substr(1, text.rfind(']') - 1);
        size_t plus = inner.find('+');
        found = operand(inner.substr(0, plus));
        if (plus != std::string::npos) found.offset = strtoll(inner.c_str() + plus + 1, nullptr, 0);
    } else if (text[0] == '!') {
        found = operand(text.substr(1));
        found.negated = true;
    } else if (text[0] == '%') {
        static const std::map<std::string, int> special = {{"%tid.", THREAD}, {"%ntid.", THREADS}, {"%ctaid.", BLOCK}, {"%nctaid.", BLOCKS}};
        auto at = special.find(text.substr(0, text.size() - 1));
        if (at != special.end() || text == "%laneid") {
            found.kind = Operand::SPECIAL;
            found.value = text == "%laneid" ? LANE : at->second + text.back() - 'x';
        } else {
            found.kind = Operand::REGISTER;
            found.value = registers.emplace(text, registers.size()).first->second;
        }
    } else if (named.count(text)) {
        found.kind = Operand::REGISTER;
        found.value = registers.emplace(text, registers.size()).first->second;
    } else if (text.rfind("0f", 0) == 0 || text.rfind("0F", 0) == 0) {
        found.value = strtoull(text.c_str() + 2, nullptr, 16);
    } else if (isdigit(text[0]) || text[0] == '-') {
        found.value = text[0] == '-' ? strtoll(text.c_str(), nullptr, 0) : strtoull(text.c_str(), nullptr, 0);
    } else if (size_t at = text.rfind("_param_"); at != std::string::npos) {
        found.kind = Operand::PARAMETER;
        found.value = strtoull(text.c_str() + at + 7, nullptr, 10);
    } // Else it is the one block of dynamic shared memory, at 0.
    return found;
}

// .reg .f32 a, sum_<3>: the registers a, sum_0, sum_1 and sum_2.
void Program::declare(const std::string &text) {
    size_t end = text.find_first_of(" \t\n", text.find('.', 1));
    for (std::string name : split(end == std::string::npos ? "" : text.substr(end), ',')) {
        name = trimmed(name);
        size_t count = name.find('<');
        if (name.empty() || name[0] == '%') continue;
        if (count == std::string::npos) named.insert(name);
        else
            for (long i = 0; i < strtol(name.c_str() + count + 1, nullptr, 10); i++) named.insert(name.substr(0, count) + std::to_string(i));
    }
}

void Program::statement(std::string text, std::map<std::string, size_t> &labels, std::map<size_t, std::string> &branches) {
    static const std::set<std::string> types = {"s16", "u16", "b16", "f16", "bf16", "s32", "u32", "b32",    "f32",    "s64", "u64",
                                                "b64", "f64", "b8",  "u8",  "s8",   "pred", "f16x2", "bf16x2"};
    for (bool more = true; more;) { // Braces of inline assembly, and labels, stand before a statement.
        text = trimmed(text);
        size_t end = text.find_first_not_of("$_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        more = true;
        if (!text.empty() && (text[0] == '{' || text[0] == '}')) text = text.substr(1);
        else if (end != std::string::npos && end > 0 && text[end] == ':') labels[text.substr(0, end)] = instructions.size(), text = text.substr(end + 1);
        else more = false;
    }
    if (text.rfind(".reg", 0) == 0) declare(text);
    if (text.empty() || text[0] == '.') return;
    Instruction made;
    if (text[0] == '@') {
        size_t end = text.find_first_of(" \t");
        made.guard_negated = text[1] == '!';
        made.guard = operand(text.substr(made.guard_negated ? 2 : 1, end - (made.guard_negated ? 2 : 1))).value;
        text = trimmed(text.substr(end));
    }
    size_t end = text.find_first_of(" \t\n");
    made.parts = split(text.substr(0, end), '.');
    for (const std::string &part : made.parts)
        if (types.count(part)) made.type = part;
    std::string rest = end == std::string::npos ? "" : trimmed(text.substr(end));
    if (made.parts[0] == "bra") branches[instructions.size()] = rest;
    else if (!rest.empty())
        for (const std::string &piece : split(rest, ',')) made.operands.push_back(operand(piece.substr(0, piece.find('|'))));
    instructions.push_back(made);
}

Program::Program(const std::string &text) {
    size_t at = text.find(".entry ") + 7;
    name = text.substr(at, text.find('(', at) - at);
    std::map<std::string, size_t> labels;
    std::map<size_t, std::string> branches;
    std::string one;
    for (char c : body(text)) {
        if (c != ';') one += c;
        else statement(one, labels, branches), one.clear();
    }
    for (const auto &[place, label] : branches) {
        auto found = labels.find(label);
        if (found == labels.end()) fprintf(stderr, "interpreter: %s has no label %s\n", name.c_str(), label.c_str()), known = false;
        else instructions[place].target = found->second;
    }
}

} // namespace ptx
