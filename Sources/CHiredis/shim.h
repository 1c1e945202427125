// hiredis' RESP formatter and reader. pkg-config puts either <include> or <include>/hiredis on the path.
#if __has_include(<hiredis/hiredis.h>)
#include <hiredis/hiredis.h>
#else
#include <hiredis.h>
#endif
