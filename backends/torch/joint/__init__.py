"""Several classes under one loss: factorised smoothing of joint programmes, certified by `core`."""
