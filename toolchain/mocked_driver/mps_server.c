/* Stand-in for nvidia-cuda-mps-server, which the control daemon starts for the first CUDA program:
   on a mocked GPU there is none. It is here because NVIDIA's driver comes with it. */
#include <stdio.h>

int main(void)
{
	fprintf(stderr, "mocked: there are no CUDA programs to serve\n");
	return 1;
}
