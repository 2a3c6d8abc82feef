"""LPIPS: how different two pictures look (Zhang et al., CVPR 2018)."""
