/* publish */
#include "relaypool.h"
