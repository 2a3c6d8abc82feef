"""Speech2Lip: one person's lips, learnt from a short video (Wu et al., ICCV 2023)."""
