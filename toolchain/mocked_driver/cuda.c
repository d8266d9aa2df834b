/* Stand-in for libcuda.so.1: a driver that says, as NVIDIA's does, that there is no GPU to compute
   on. What works with a mocked GPU ends where silicon is needed, with this error. */
enum { NO_DEVICE = 100 };

int cuInit(unsigned flags)
{
	(void)flags;
	return NO_DEVICE;
}

int cuDriverGetVersion(int *version)
{
	*version = CUDA_VERSION;
	return 0;
}

int cuGetErrorName(int code, const char **name)
{
	*name = code ? "CUDA_ERROR_NO_DEVICE" : "CUDA_SUCCESS";
	return 0;
}

int cuGetErrorString(int code, const char **text)
{
	*text = code ? "the GPU is mocked: no CUDA-capable device is detected" : "no error";
	return 0;
}
