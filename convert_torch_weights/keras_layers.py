"""In which order the layers of published Keras files stand.

Keras sorts a file's layers by their distance to the output, so the branches of a
network interleave in a way that cannot be told from the network alone. A letter is the
layer's class, a number its place among the layers of that class, in the order of their
creation. (LipGAN, section 4.2.)
"""

_CLASSES = {
    "c": "conv2d",
    "t": "conv2d_transpose",
    "b": "batch_normalization",
    "i": "instance_normalization",
}

_ORDERS = {
    "lipgan": """
        c1 b1 c2 b2 c3 b3 c4 b4 c5 c27 b5 b27 c6 c28 b6 b28 c29 b29 c7 b7 c8 c30
        b8 b30 c9 c31 b9 b31 c10 c32 b10 b32 c11 c33 b11 b33 c34 b34 c12 b12 c13
        c35 b13 b35 c36 b36 c14 b14 c15 c37 b15 b37 c16 c38 b16 b38 c39 b39 c17
        b17 c18 c40 b18 b40 c41 b41 c19 b19 c20 c42 b20 b42 c21 c43 b21 b43 c44
        b44 c22 b22 c23 c45 b23 b45 c46 b46 c24 b24 c25 c47 b25 b47 c26 c48 b26
        b48 t1 b49 t2 b50 c49 b51 c50 b52 c51 b53 c52 b54 t3 b55 c53 b56 c54 b57
        c55 b58 c56 b59 t4 b60 c57 b61 c58 b62 c59 b63 c60 b64 t5 b65 c61 b66
        c62 b67 c63 b68 c64 b69 t6 b70 c65 b71 c66 b72 c67
    """,
    "lipgan_basic": """
        c9 b9 c10 b10 c11 b11 c12 b12 c13 b13 c14 b14 c1 c15 b1 b15 c2 c16 b2
        b16 c3 c17 b3 b17 c4 c18 b4 b18 c5 c19 b5 b19 c6 c20 b6 b20 c7 c21 b7
        b21 c8 c22 b8 b22 t1 b23 t2 b24 t3 b25 t4 b26 t5 b27 t6 b28 c23 b29 c24
        b30 c25
    """,
    "lipgan_mfcc": """
        c1 b1 c2 b2 c3 b3 c4 b4 c27 c5 b27 b5 c28 c6 b28 b6 c29 b29 c7 b7 c30 c8
        b30 b8 c31 c9 b31 b9 c32 c10 b32 b10 c33 c11 b33 b11 c12 c34 b12 b34 c13
        c35 b13 b35 c36 b36 c14 b14 c15 c37 b15 b37 c16 c38 b16 b38 c17 c39 b17
        b39 c18 c40 b18 b40 c41 b41 c19 b19 c20 c42 b20 b42 c21 c43 b21 b43 c22
        c44 b22 b44 c23 c45 b23 b45 c46 b46 c24 b24 c25 c47 b25 b47 c26 c48 b26
        b48 t1 b49 t2 b50 c49 b51 c50 b52 c51 b53 c52 b54 t3 b55 c53 b56 c54 b57
        c55 b58 c56 b59 t4 b60 c57 b61 c58 b62 c59 b63 c60 b64 t5 b65 c61 b66
        c62 b67 c63 b68 c64 b69 t6 b70 c65 b71 c66 b72 c67
    """,
    "lipgan_mfcc_basic": """
        c1 b1 c9 c2 b9 b2 c3 c10 b3 b10 c4 c11 b4 b11 c5 c12 b5 b12 c6 c13 b6
        b13 c7 c14 b7 b14 c8 c15 b8 b15 t1 b16 t2 b17 t3 b18 t4 b19 t5 b20 t6
        b21 c16 b22 c17 b23 c18
    """,
    "lipgan_disc": """
        c7 i6 c1 i1 c8 i7 c2 i2 c9 i8 c3 i3 c10 i9 c4 i4 c11 i10 c5 i5 c12 i11
        c6
    """,
    "lipgan_mfcc_disc": """
        c7 i6 c8 c1 i7 i1 c2 c9 i2 i8 c3 c10 i3 i9 c4 c11 i4 i10 c5 c12 i5 i11
        c6 c13
    """,
}

# Network -> layers, named as `keras_names` names them.
FILE_ORDERS: dict[str, list[str]] = {
    network: [f"{_CLASSES[layer[0]]}#{layer[1:]}" for layer in layers.split()]
    for network, layers in _ORDERS.items()
}
