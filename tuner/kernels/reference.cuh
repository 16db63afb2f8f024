// An op's reference (variants/reference.h), a warp per item.  REFERENCE_ENTRY is
// its `items`.
struct ReferenceArgs {
    long long plan[REFERENCE_PLAN / 8];
    reference_out out[REFERENCE_TENSORS]; // from item 0 on
    long long each[REFERENCE_TENSORS];    // elements per item
    long long items;
};

extern "C" __global__ void __launch_bounds__(128) dt_reference(const __grid_constant__ ReferenceArgs a)
{
    const long long item = (long long)blockIdx.x * (128 / TEAM) + threadIdx.x / TEAM;
    if (item >= a.items) return;
    reference_out out[REFERENCE_TENSORS];
    for (int i = 0; i < REFERENCE_TENSORS; ++i) {
        const long long skip = item * a.each[i];
        out[i] = a.out[i];
        if (!out[i].value) continue;
        out[i].value += skip;
        out[i].slack += skip;
        out[i].split_slack += skip;
    }
    REFERENCE_ENTRY(a.plan, item, item + 1, out);
}
DT_EXPORT(dt_reference, ReferenceArgs)
