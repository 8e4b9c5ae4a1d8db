/* auth */
#include "relaypool.h"
