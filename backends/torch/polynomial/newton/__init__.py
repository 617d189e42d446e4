"""Newton steps along a central path, for inputs in raw units, where descent gets nowhere.

With columns from 1e-3 to 1e4, or far from zero, the Hessian in the neurons has a condition of 1e14, and multipliers on
the way violate dual feasibility by 1e5 beta in the directions of large columns: descent proves nothing. Newton's
method does not care about units. It runs in the convex programme's own variables

    minimise  mean_i loss(worst margin_i(T+ - T-)) + beta (T+_22 + T-_22) - nu (log det T+ + log det T-)
    subject to  tr T+_11 = T+_22,  tr T-_11 = T-_22,

whose minimisers over nu > 0 are the central path. The problem is the one given: columns are only divided by their
sizes inside, and the traces weighted accordingly (M below). For G of the certificate, stationarity says

    beta e e' + lam_s E - s G = nu T_s^-1,   E = diag(M, -1),   s = +-1,

so ``|[u; 1]'G[u; 1]| < beta`` for all unit u: points of the path, and what one Newton step predicts of them, are
strictly dual feasible, and the gap is of the size of nu. Losses are smoothed by barriers of their conjugates' domains
(`losses`), attacks as everywhere in this backend, by as much as nu asks for (`expansion`). A step is a linear system of
the size of T, ``(d + 1)(d + 2) / 2``, in coordinates where both T are diagonal (`system`); everything else is sums
over samples, block by block.
"""
