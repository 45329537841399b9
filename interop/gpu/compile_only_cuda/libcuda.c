/* CUDA's driver library without a GPU: it keeps the compiled kernels and runs none.
 *
 * CubeCL writes CUDA C++ and hands it to NVRTC when a kernel is first launched, so a kernel that does not compile shows there and
 * not before. With this library in the driver's place a program launches its kernels on any machine: NVRTC is the real one and
 * compiles them; what it makes is written to the folder in COMPILED_KERNELS, one file a kernel, under the kernel's name.
 *
 * It is no emulator: device memory is zeroed host memory, copies copy, launches return at once. Every result is meaningless, unless
 * it is linked with the interpreter in ../interpret_ptx, which then runs the kernels.
 * Functions that it lacks end the program with a line that names them; CubeCL 0.11.3 needs the ones below.
 *
 * The name is libcuda.so, which CubeCL looks for first, and not libcuda.so.1: NVRTC would load that one itself, and ask it for
 * what only a driver has.
 *
 *     cc -shared -fPIC -O2 -o libcuda.so libcuda.c
 *     LD_LIBRARY_PATH=.:/folder/of/nvrtc CUDA_PATH=/folder/above/include COMPILED_KERNELS=kernels program ...
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int Result; /* CUresult: 0 is success. */
typedef uint64_t Address;
typedef void *Handle;

enum { SUCCESS = 0, INVALID = 1, OUT_OF_MEMORY = 2 };

/* Handles are never looked into; only null would be taken for none. */
static char something;

/* Arguments that nobody reads may be left out under C's calling conventions. */
#define DOES_NOTHING(name) Result name(void) { return SUCCESS; }
#define GIVES_A_HANDLE(name) Result name(Handle *handle) { return *handle = &something, SUCCESS; }

/* The device: one of compute capability 9.0, or of COMPUTE_CAPABILITY, 80 or more. */

static int capability(void) {
    const char *wanted = getenv("COMPUTE_CAPABILITY");
    return wanted ? atoi(wanted) : 90;
}

/* Bytes of shared memory that a block may have on request. */
static int shared_memory(void) {
    int major = capability() / 10;
    return (major == 9 || major == 10 ? 227 : capability() == 80 ? 163 : 99) << 10;
}

Result cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    switch (attribute) { /* CUdevice_attribute */
    case 1: case 2: case 3: *value = 1024; break; /* threads of a block, in all and along x and y */
    case 4: *value = 64; break;                   /* the same along z */
    case 5: *value = INT32_MAX; break;            /* blocks along x */
    case 6: case 7: *value = 65535; break;        /* blocks along y and z */
    case 8: *value = 48 << 10; break;             /* shared memory of a block without request */
    case 10: *value = 32; break;                  /* threads of a warp */
    case 12: *value = 65536; break;               /* registers of a block */
    case 16: *value = 132; break;                 /* multiprocessors */
    case 75: *value = capability() / 10; break;
    case 76: *value = capability() % 10; break;
    case 97: *value = shared_memory(); break;
    default: *value = 0;
    }
    return SUCCESS;
}

Result cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
Result cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
Result cuDeviceGet(int *device, int index) { return *device = index, index ? INVALID : SUCCESS; }
Result cuDeviceTotalMem_v2(size_t *bytes, int device) { return (void)device, *bytes = (size_t)80 << 30, SUCCESS; }

Result cuDeviceGetName(char *name, int length, int device) {
    (void)device;
    snprintf(name, length, "no device: compiles kernels only");
    return SUCCESS;
}

Result cuDeviceGetPCIBusId(char *id, int length, int device) {
    (void)device;
    snprintf(id, length, "0000:01:00.0");
    return SUCCESS;
}

DOES_NOTHING(cuInit)
GIVES_A_HANDLE(cuDevicePrimaryCtxRetain)
DOES_NOTHING(cuCtxSetCurrent)

Result cuGetErrorName(Result error, const char **text) { return (void)error, *text = "error", SUCCESS; }
Result cuGetErrorString(Result error, const char **text) { return (void)error, *text = "an error of the stand-in driver", SUCCESS; }

/* Streams and events: all work is done when it is asked for. */

Result cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = *greatest = 0, SUCCESS; }
GIVES_A_HANDLE(cuStreamCreate)
GIVES_A_HANDLE(cuStreamCreateWithPriority)
DOES_NOTHING(cuStreamDestroy_v2)
DOES_NOTHING(cuStreamSynchronize)
DOES_NOTHING(cuStreamWaitEvent)
GIVES_A_HANDLE(cuEventCreate)
DOES_NOTHING(cuEventDestroy_v2)
DOES_NOTHING(cuEventRecord)
DOES_NOTHING(cuEventQuery)
DOES_NOTHING(cuEventSynchronize)

/* Memory: calloc's pages come into being when somebody writes them, so that large pools cost nothing. */

static Result allocate(void **memory, size_t bytes) { return (*memory = calloc(1, bytes)) ? SUCCESS : OUT_OF_MEMORY; }

Result cuMemAlloc_v2(Address *memory, size_t bytes) { return allocate((void **)memory, bytes); }
Result cuMemAllocAsync(Address *memory, size_t bytes, Handle stream) { return (void)stream, allocate((void **)memory, bytes); }
Result cuMemAllocHost_v2(void **memory, size_t bytes) { return allocate(memory, bytes); }
Result cuMemFree_v2(Address memory) { return free((void *)memory), SUCCESS; }
Result cuMemFreeAsync(Address memory, Handle stream) { return (void)stream, free((void *)memory), SUCCESS; }
Result cuMemFreeHost(void *memory) { return free(memory), SUCCESS; }

static Result copy(Address to, Address from, size_t bytes) { return memmove((void *)to, (void *)from, bytes), SUCCESS; }

Result cuMemcpyHtoDAsync_v2(Address to, Address from, size_t bytes) { return copy(to, from, bytes); }
Result cuMemcpyDtoHAsync_v2(Address to, Address from, size_t bytes) { return copy(to, from, bytes); }
Result cuMemcpyDtoDAsync_v2(Address to, Address from, size_t bytes) { return copy(to, from, bytes); }

typedef struct { /* CUDA_MEMCPY2D, of which the host's memory is kind 1 */
    size_t from_x, from_y;
    int from_kind;
    Address from_host, from_device, from_array;
    size_t from_pitch, to_x, to_y;
    int to_kind;
    Address to_host, to_device, to_array;
    size_t to_pitch, width, height;
} Copy2D;

Result cuMemcpy2DAsync_v2(const Copy2D *rows, Handle stream) {
    (void)stream;
    Address from = rows->from_kind == 1 ? rows->from_host : rows->from_device;
    Address to = rows->to_kind == 1 ? rows->to_host : rows->to_device;
    for (size_t row = 0; row < rows->height; row++)
        copy(to + (rows->to_y + row) * rows->to_pitch + rows->to_x, from + (rows->from_y + row) * rows->from_pitch + rows->from_x,
             rows->width);
    return SUCCESS;
}

DOES_NOTHING(cuTensorMapEncodeTiled)
DOES_NOTHING(cuTensorMapEncodeIm2col)

/* Kernels: a module is its one kernel. The interpreter is told of both, if it is there. */

__attribute__((weak)) void kernel_loaded(void *kernel, const char *ptx);
__attribute__((weak)) void kernel_launched(void *kernel, const unsigned blocks[3], const unsigned threads[3], unsigned shared_memory,
                                           void **arguments);

typedef struct {
    int launched;
    char path[4096]; /* Of its PTX; empty if that is not kept. */
} Kernel;

/* Writes the PTX under the name of its entry; a kernel's name differs for each float type and each set of constants. */
Result cuModuleLoadData(Kernel **module, const char *ptx) {
    static const char mark[] = ".entry ";
    const char *folder = getenv("COMPILED_KERNELS"), *name = strstr(ptx, mark);
    Kernel *kernel = *module = calloc(1, sizeof *kernel);
    if (!kernel) return OUT_OF_MEMORY;
    if (kernel_loaded) kernel_loaded(kernel, ptx);
    if (!folder) return SUCCESS;
    if (!name) return fprintf(stderr, "libcuda: a module without an entry\n"), INVALID;
    name += sizeof mark - 1;
    snprintf(kernel->path, sizeof kernel->path, "%s/%.*s.ptx", folder, (int)strcspn(name, "( \t\r\n"), name);
    FILE *file = fopen(kernel->path, "w");
    int failed = !file || fputs(ptx, file) < 0;
    if (file) failed |= fclose(file) != 0;
    if (failed) fprintf(stderr, "libcuda: cannot write %s\n", kernel->path);
    return failed ? INVALID : SUCCESS;
}

Result cuModuleGetFunction(Kernel **function, Kernel *module, const char *name) {
    return (void)name, *function = module, SUCCESS;
}

DOES_NOTHING(cuFuncSetAttribute)

/* Adds to a kernel's PTX, once, what a launch asks for and the PTX does not say. */
Result cuLaunchKernel(Kernel *kernel, unsigned x, unsigned y, unsigned z, unsigned block_x, unsigned block_y, unsigned block_z,
                      unsigned shared_memory, Handle stream, void **arguments, void **more) {
    (void)stream, (void)more;
    const unsigned blocks[3] = {x, y, z}, threads[3] = {block_x, block_y, block_z};
    if (kernel_launched) kernel_launched(kernel, blocks, threads, shared_memory, arguments);
    if (kernel->launched++ || !*kernel->path) return SUCCESS;
    FILE *file = fopen(kernel->path, "a");
    if (!file) return INVALID;
    fprintf(file, "\n// launched: %u threads, %u bytes of dynamic shared memory\n", block_x * block_y * block_z, shared_memory);
    return fclose(file) ? INVALID : SUCCESS;
}
