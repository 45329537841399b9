/* A Vulkan driver that is SwiftShader, except for one word of every shader.
 *
 * Where a device lacks VK_KHR_workgroup_memory_explicit_layout, CubeCL 0.11.3 declares a variable in shared memory with the type
 * "pointer to pointer to array" instead of "pointer to array", and then uses it as the latter. That is not valid SPIR-V, and
 * SwiftShader, which lacks the extension, takes such a variable for one value. This driver gives the variables their right type
 * on the way. Devices with the extension go another way in CubeCL and need nothing.
 *
 *     cc -shared -fPIC -O2 -o libshared_variables.so shared_variables.c -ldl
 *     SOFTWARE_VULKAN=/path/to/libvk_swiftshader.so VK_ICD_FILENAMES=shared_variables.json cargo test ...
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef void (*Function)(void);
typedef Function (*GetProcedure)(void *, const char *);
typedef uint32_t (*Negotiate)(uint32_t *);
/* VkShaderModuleCreateInfo, VkResult vkCreateShaderModule. */
typedef struct {
    uint32_t type;
    const void *next;
    uint32_t flags;
    size_t bytes;
    const uint32_t *code;
} ModuleInfo;
typedef int32_t (*CreateModule)(void *, const ModuleInfo *, const void *, uint64_t *);

enum { HEADER = 5, OP_TYPE_POINTER = 32, OP_VARIABLE = 59, WORKGROUP = 4 };

static GetProcedure driver;
static GetProcedure driver_device;
static CreateModule create_module;

static void open_driver(void) {
    if (driver) return;
    const char *path = getenv("SOFTWARE_VULKAN");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!library) {
        fprintf(stderr, "shared_variables: SOFTWARE_VULKAN names no driver: %s\n", path ? dlerror() : "not set");
        return;
    }
    driver = (GetProcedure)dlsym(library, "vk_icdGetInstanceProcAddr");
    Negotiate negotiate = (Negotiate)dlsym(library, "vk_icdNegotiateLoaderICDInterfaceVersion");
    uint32_t version = 5;
    if (negotiate) negotiate(&version);
}

/* Variables in shared memory whose type points to a pointer get the type that this points to. */
static void correct(uint32_t *code, size_t words) {
    uint32_t bound = words > 3 ? code[3] : 0;
    /* By type: what it points to, for pointers into shared memory; else 0. */
    uint32_t *pointee = calloc(bound + 1, sizeof *pointee);
    if (!pointee) return;
    for (size_t i = HEADER; i < words;) {
        uint32_t length = code[i] >> 16, operation = code[i] & 0xffff;
        if (length == 0 || i + length > words) break;
        if (operation == OP_TYPE_POINTER && length == 4 && code[i + 2] == WORKGROUP && code[i + 1] < bound)
            pointee[code[i + 1]] = code[i + 3];
        if (operation == OP_VARIABLE && length >= 4 && code[i + 3] == WORKGROUP && code[i + 1] < bound) {
            uint32_t inner = pointee[code[i + 1]];
            if (inner < bound && pointee[inner]) code[i + 1] = inner;
        }
        i += length;
    }
    free(pointee);
}

static int32_t create_corrected(void *device, const ModuleInfo *info, const void *allocator, uint64_t *module) {
    uint32_t *code = malloc(info->bytes);
    if (!code) return create_module(device, info, allocator, module);
    memcpy(code, info->code, info->bytes);
    correct(code, info->bytes / 4);
    ModuleInfo corrected = *info;
    corrected.code = code;
    int32_t result = create_module(device, &corrected, allocator, module);
    free(code);
    return result;
}

static Function device_procedure(void *device, const char *name);

static Function replaced(Function found, const char *name) {
    if (!found) return found;
    if (!strcmp(name, "vkCreateShaderModule")) {
        create_module = (CreateModule)found;
        return (Function)create_corrected;
    }
    if (!strcmp(name, "vkGetDeviceProcAddr")) {
        driver_device = (GetProcedure)found;
        return (Function)device_procedure;
    }
    return found;
}

static Function device_procedure(void *device, const char *name) {
    return replaced(driver_device(device, name), name);
}

Function vk_icdGetInstanceProcAddr(void *instance, const char *name) {
    open_driver();
    return driver ? replaced(driver(instance, name), name) : NULL;
}

uint32_t vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
    open_driver();
    if (*version > 5) *version = 5;
    return driver ? 0 : (uint32_t)-9; /* VK_ERROR_INCOMPATIBLE_DRIVER */
}
