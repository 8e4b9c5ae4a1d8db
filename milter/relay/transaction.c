/* transaction */
#include "relaypool.h"
