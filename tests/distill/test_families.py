"""Networks of many families of timm: each trains as the plain network does, or is refused."""

from copy import deepcopy

import pytest
import timm
import torch
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from distill.recipe import Recipe
from distill.student import check_size, create_student, load_network, save_network
from distill.training.convolutions import fast_convolutions
from distill.training.loop import fit
from zoo.errors import StudentError
from zoo.system.devices import to_device
from zoo.teachers.starts import IMAGENET

CPU = torch.device("cpu")
RECIPE = Recipe(updates=2, labeled_batch=8, unlabeled_batch=8)
FAMILIES = [
    *("mobilenetv2_035", "mobilenetv3_small_050", "tf_mobilenetv3_small_minimal_100"),
    *("mobilenetv4_conv_small_035", "mobilenet_edgetpu_v2_xs", "mnasnet_small", "semnasnet_075"),
    *("efficientnet_lite0", "tf_efficientnet_lite0", "efficientnet_b0", "tf_efficientnet_b0"),
    *("mixnet_s", "tf_mixnet_s", "tinynet_e", "lcnet_035", "ghostnet_050", "ghostnetv2_100"),
    *("repghostnet_050", "regnetx_002", "regnety_002", "resnet10t", "resnet18", "densenet121"),
    *("mobileone_s0", "repvit_m0_9", "fastvit_t8", "starnet_s1", "hgnetv2_b0", "shvit_s1"),
    *("edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050", "efficientvit_b0"),
    *("efficientvit_m0", "convnext_atto", "convnextv2_atto", "inception_next_atto"),
    *("tiny_vit_5m_224", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "pit_ti_224"),
    *("deit_tiny_distilled_patch16_224", "xcit_nano_12_p16_224", "levit_128s"),
    *("efficientformerv2_s0", "swiftformer_xs", "vgg11"),
]
SMALLER = {"vgg11": {"mlp_ratio": 0.02}}
"""Arguments that leave a family its form and take most of its weights."""


@pytest.mark.parametrize("arch", FAMILIES)
@pytest.mark.parametrize("size", [64, 96])
def test_a_student_of_any_family_trains_as_the_plain_network(arch, size):
    args = SMALLER.get(arch) or check_size(arch, size)
    student = create_student(arch, 2, start="random", model_args=args)
    check_gradients(student, size)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, size, size), dtype=torch.uint8, generator=generator)
    labels = torch.tensor([0, 1] * 4 + [-1] * 8)
    trained = fit(student, pixels, labels, RECIPE, targets=None, preprocessing=IMAGENET, device=CPU)
    assert trained.history[-1]["update"] == 2


def check_gradients(student, size):
    """Two images through network and student, batch norms at rest: those of so few are chaotic."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    plain = deepcopy(student.network)
    for module in plain.modules():
        if isinstance(module, _BatchNorm):
            module.momentum = None  # the statistics of these images: without, gradients vanish
    with torch.no_grad():
        plain.train()(images)
    student.network.load_state_dict(plain.eval().state_dict())
    to_device(student, CPU).eval()
    labels = torch.tensor([0, 1])
    # in torch's own order: see docs/decisions/0013-strided-convolutions.md
    logits = plain(images)
    cross_entropy(logits, labels).backward()
    with fast_convolutions(student):
        inputs = images.contiguous(memory_format=torch.channels_last)
        outputs = student.classify(student.embed(inputs))
        cross_entropy(outputs, labels).backward()
    assert torch.allclose(
        outputs, logits, rtol=1e-3, atol=1e-3 * float(logits.detach().abs().max())
    )
    found = {name: p.grad for name, p in student.network.named_parameters()}
    expected = {name: p.grad for name, p in plain.named_parameters() if p.grad is not None}
    total = torch.stack([gradient.norm() for gradient in expected.values()]).norm()
    for name, gradient in expected.items():
        worst = (found[name] - gradient).norm()
        # rounding at a ReLU's kink grows to a hundredth here; a wrong form is off by one
        assert worst <= 3e-2 * (gradient.norm() + 0.1 * total), name


@pytest.mark.parametrize("arch", ["crossvit_tiny_240", "volo_d1_224"])
def test_a_network_whose_classes_come_from_several_embeddings_is_refused_in_one_line(arch):
    with pytest.raises(StudentError, match="does not compute its classes from one") as error:
        check_size(arch, 224)
    assert "\n" not in str(error.value)


def test_a_size_that_does_not_fit_is_refused_with_one_that_does():
    with pytest.raises(
        StudentError, match=r"vit_tiny_.* not accept images of 8 px .*--image-size 64"
    ):
        check_size("vit_tiny_patch16_224", 8)


@pytest.mark.parametrize(
    "arch",
    [
        "fbnetc_100",
        "levit_128s",
        "repvit_m0_9",
        "deit_tiny_distilled_patch16_224",
        "vit_tiny_patch16_224",
    ],
)
def test_a_saved_student_with_two_heads_or_a_fixed_size_is_the_trained_one(arch, tmp_path):
    student = create_student(arch, 3, start="random", image_size=64).eval()
    save_network(student.network, tmp_path, arch=arch, labels="abc", preprocessing=IMAGENET,
                 license="mit")  # fmt: skip
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    networks = [
        load_network(tmp_path)[0],
        timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval(),
    ]
    with torch.inference_mode():
        expected = student.classify(student.embed(images))
        for network in networks:
            assert torch.allclose(network(images), expected, rtol=1e-2, atol=1e-3)


def test_position_embeddings_of_a_start_are_resampled_to_the_size_of_the_student(tmp_path):
    giver = create_student("vit_tiny_patch16_224", 3, start="random", seed=5, image_size=64)
    save_network(giver.network, tmp_path, arch="vit_tiny_patch16_224", labels="abc",
                 preprocessing=IMAGENET, license="mit")  # fmt: skip
    taker = create_student("vit_tiny_patch16_224", 2, start=str(tmp_path), image_size=96)
    given, taken = giver.network.state_dict(), taker.network.state_dict()
    assert [given["pos_embed"].shape[1], taken["pos_embed"].shape[1]] == [17, 37]
    assert torch.allclose(
        given["pos_embed"][:, 1:].mean(1), taken["pos_embed"][:, 1:].mean(1), atol=5e-3
    )
    assert torch.allclose(
        given["blocks.3.attn.qkv.weight"], taken["blocks.3.attn.qkv.weight"], atol=1e-3
    )


@pytest.mark.parametrize("arch", ["resnet18", "mobilenetv3_small_050", "levit_128s"])
def test_a_new_head_has_small_weights(arch):
    student = create_student(arch, 10, start="random")
    with torch.inference_mode():
        size = student.embed(torch.zeros(2, 3, 224, 224)).shape[1]
        weights = student.classify(torch.eye(size))
    assert 0.008 < float(weights.std()) < 0.012
