"""Tests of what measure.py --packed reads and reckons.

python interop/gpu/test_packed_reading.py
"""

import json
import pathlib
import unittest

from stand_ins import InFolder

from packed import machine, operations, reading


class Reading(InFolder):
    def write(self, name, text):
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def test_measurements_are_found_among_other_lines(self):
        self.write(
            "stdout",
            'a warning\n{"parameters": 3}\n{"what": "train step", "median_ms": 2.5}\n[1]\n{"wh',
        )
        self.assertEqual(
            reading.rows(self.folder), {"rows": [{"what": "train step", "median_ms": 2.5}]}
        )

    def test_a_test_that_was_not_over_has_no_outcome(self):
        self.write(
            "stdout", "running 3 tests\ntest a::b ... ok\ntest c ... ignored, slow\ntest d ... "
        )
        self.assertEqual(
            reading.tests(self.folder)["tests"], {"a::b": "ok", "c": "ignored", "d": None}
        )

    def test_the_message_of_a_panic_is_kept(self):
        text = (
            "test a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\n"
            "thread 'a' panicked at x.rs:3:5:\n"
            "the gradient is off\n\n\nfailures:\n    a\n"
        )
        self.write("stdout", text)
        self.assertEqual(reading.tests(self.folder)["said"], {"a": "the gradient is off"})

    LOG = (
        "| 2.39ms     | AttentionForwardMma | bf16 | CudaRuntime_1a2b3c4d\n"
        "| 512.5µs    | AddBias_00ff00ff\n"
        "| not measured | AddBias_00ff00ff\n"
        "| 1.5s       | MatmulEntry | PartitionedBatchMatmul | CudaRuntime_99999999\n"
        "| Name       | Duration | Num Computed | Ratio |\n"
        "| AddBias_00ff00ff | 512.5µs  | 1 | 0 % |\n"
    )

    def test_launches_have_a_name_and_a_time(self):
        found = reading.launches(self.write("log", self.LOG))
        names = [(name, ms) for name, _, ms in found]
        self.assertEqual(
            names, [("attention_forward_mma", 2.39), ("add_bias", 0.5125), ("matmul_entry", 1500.0)]
        )

    def test_one_pass_is_found_behind_checks_and_forward_passes(self):
        launch = lambda name, ms=1.0: (name, name, ms)
        forward, both = "abb", "abbabcc"
        times = [10.0, 1.0, 2.0, 3.0]  # Of the warm-up, and of the runs.
        log = [launch(name) for name in "xyzzyx" + 4 * forward]
        log += [launch(name, ms) for ms in times for name in both]
        # The end of a log is lost with the process.
        for lost in [0, 2]:
            found = reading.one_pass(log[: len(log) - lost], 4)
            calls = {kernel["kernel"]: kernel["calls"] for kernel in reading.by_kernel(found)}
            self.assertEqual(calls, {"a": 2, "b": 3, "c": 2})
        self.assertAlmostEqual(sum(ms for _, _, ms in reading.one_pass(log, 4)), 2.0 * len(both))
        self.assertIsNone(reading.one_pass([launch(name) for name in "abcdefgh"], 4))

    def test_training_is_timed_without_its_first_steps(self):
        steps = [
            dict(step=n, tokens=10 * n, loss=5.0 - n, seconds=100.0 + n, mfu=0.25)
            for n in range(1, 5)
        ]
        steps.insert(0, dict(step=0, tokens=0, validation_loss=9.0))
        metrics = self.write(
            "metrics.jsonl", "\n".join(map(json.dumps, steps)) + '\n{"step": 5, "lo'
        )
        found = reading.training(metrics, "sas: 10,335,824 parameters, 5 training tokens\n", 1)
        self.assertEqual((found["parameters"], found["steps"]), (10335824, 4))
        self.assertEqual((found["tokens_per_s"], found["loss"]), (10.0, 2.5))


class Machine(InFolder):
    def test_nvrtc_is_found_under_any_of_its_names(self):
        toolkit = self.folder / "cuda"
        for name in ["lib64/libnvrtc.so.13", "include/mma.h"]:
            (toolkit / name).parent.mkdir(parents=True)
            (toolkit / name).touch()
        found = machine.cuda_environment(self.folder / "cache", [self.folder / "none", toolkit])
        self.assertEqual(found["CUDA_PATH"], str(toolkit))
        first = pathlib.Path(found["LD_LIBRARY_PATH"].split(":")[0])
        self.assertEqual((first / "libnvrtc.so").resolve(), toolkit / "lib64" / "libnvrtc.so.13")
        self.assertEqual(
            machine.cuda_environment(self.folder / "cache", [self.folder / "none"]), {}
        )

    def test_memory_is_unknown_on_a_cpu(self):
        self.assertIsNone(machine.memory_meter("cpu")())


class Operations(unittest.TestCase):
    def test_the_layer_of_the_125m_class_has_what_the_first_run_on_a_card_was_reckoned_with(self):
        sizes = operations.Sizes(32, 1024)
        giga = lambda name, calls=1: operations.of(name, calls, sizes)[0] / 1e9
        for name, calls, expected in [
            ("attention_forward_units", 2, 2 * 193.5),
            ("attention_query_gradients_mma", 1, 309.5),
            ("attention_key_gradients", 1, 386.9),
            ("expand_heads_units", 6, 6 * 36.2),
            ("expand_features_units", 4, 4 * 36.2),
            ("map_weight_gradient", 4, 2 * (21.7 + 14.5)),
            ("convolution_weight_gradient", 6, 3 * (27.2 + 9.1)),
            ("both_maps_mma", 9, 9 * 36.2),
            ("both_features_mma", 6, 6 * 36.2),
            ("heads_weight_gradient_mma", 6, 3 * (27.2 + 9.1)),
            ("features_weight_gradient_mma", 4, 2 * (21.7 + 14.5)),
        ]:
            self.assertAlmostEqual(giga(name, calls) / expected, 1, delta=0.004, msg=name)
        # 12 products of 38.7, whichever kernels have them.
        named = lambda *names: [{"kernel": n, "calls": 6, "forms": 2, "ms": 3.0} for n in names]
        one, two = named("matmul_entry", "add_bias"), named("products_wgmma", "products_mma")
        for kernels, at in [(one, 0), (two, 2)]:
            operations.add(kernels, sizes)
            self.assertAlmostEqual(kernels[at]["operations"] / 1e9, 12 * 38.65, delta=1)
        self.assertNotIn("operations", two[0])
        self.assertEqual((two[2]["ms"], two[2]["calls"]), (6.0, 12))
        _, size = operations.of("attention_forward_mma", 1, sizes)
        self.assertAlmostEqual(size / 1e9, 0.76, delta=0.005)
        self.assertIsNone(operations.of("a_kernel_that_nobody_knows", 1, sizes))

    def test_mha_has_neither_more_heads_nor_wider_ones(self):
        mha = operations.Sizes(32, 1024).of("mha")
        forward, _ = operations.of("attention_forward", 1, mha)
        self.assertEqual(forward, 32 * 12 * (1024 * 1025 / 2) * 4 * 64)


if __name__ == "__main__":
    unittest.main()
